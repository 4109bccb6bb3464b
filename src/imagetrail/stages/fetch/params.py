"""The section of params.yaml that is the fetch stage's."""

from collections.abc import Sequence

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose
from imagetrail.data.datasets import DATASETS


def check_others(names: Sequence[str], dataset: str, key: str) -> None:
    """Raises UserError for a data set named under `key` that does not exist, or is the very one or the user's own."""
    if len(set(names)) < len(names):
        raise UserError(f"params.yaml: {key}: a data set is named twice in {', '.join(names)}")
    for name in names:
        if name == dataset or not choose(DATASETS, name, f"data set in {key}").files:
            raise UserError(
                f"params.yaml: {key}: {name!r} does not do; name a published data set other than {dataset!r}"
            )
