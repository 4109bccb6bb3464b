"""What a crash leaves of a training is taken up again or, if it is damaged, left."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from imagetrail.base.samples import Samples
from imagetrail.training import checkpoints
from imagetrail.training.batches import Mixture
from imagetrail.training.loop import fit, start
from imagetrail.training.recipe import Recipe


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[:0], id="empty"),
        pytest.param(lambda whole: whole[:100], id="cut in the header"),
        pytest.param(lambda whole: whole[:-1], id="cut by a byte"),
        pytest.param(lambda whole: bytes(len(whole)), id="zeros"),
        pytest.param(lambda whole: whole.replace(b'"at"', b'"AT"', 1), id="without a position"),
        pytest.param(
            lambda whole: whole.replace(b'"at":"{', b'"at":"[', 1), id="an unreadable position"
        ),
    ],
)
def test_a_checkpoint_damaged_in_any_way_counts_as_none(
    toy: Callable[..., Samples],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
) -> None:
    recipe, train = Recipe(model="linear", activation="relu", epochs=1, lr=0.1), toy()
    done, path = start(recipe, train, seed=0), tmp_path / "checkpoint.safetensors"
    assert len(list(fit(done, Mixture(train), train))) == 1
    checkpoints.save(path, done)
    path.write_bytes(damage(path.read_bytes()))
    anew = start(recipe, train, seed=0)
    checkpoints.restore(path, anew)
    assert anew.epoch == 0 and len(capsys.readouterr().out.splitlines()) == 1
    other = start(recipe, train, seed=0)
    assert all(map(torch.equal, anew.model.parameters(), other.model.parameters()))
