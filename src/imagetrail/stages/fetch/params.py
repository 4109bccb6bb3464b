"""The section of params.yaml that is the fetch stage's."""

from collections.abc import Sequence

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives
from imagetrail.data.datasets import DATASETS


def check_others(names: Sequence[str], dataset: str, key: str) -> None:
    """Raises UserError for a name under `key` that is no data set, our own one, or the user's."""
    where = f"params.yaml: {key}"
    if len(set(names)) < len(names):
        raise UserError(f"{where}: a data set is named twice in {', '.join(names)}")
    for name in names:
        if name not in DATASETS:
            choices = alternatives(name, DATASETS)
            raise UserError(f"{where}: unknown data set {name!r}; {choices}")
        if name == dataset or not DATASETS[name].files:
            wanted = f"name a published data set other than {dataset!r}"
            raise UserError(f"{where}: {name!r} does not do; {wanted}")
