from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imagetrail.base.samples import Samples
from imagetrail.models.inference import predict
from imagetrail.training import checkpoints, order
from imagetrail.training.batches import Mixture
from imagetrail.training.loop import Epoch, Step, start, walk
from imagetrail.training.optimisers import OPTIMISERS, SCHEDULES, Muon
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

Toy = Callable[..., Samples]


def recipe(**changes: Any) -> Recipe:
    plain = {
        "model": "fast",
        "activation": "relu",
        "width": 0.25,
        "epochs": 3,
        "batch_size": 16,
        "lr": 0.02,
    }
    return Recipe(**(plain | changes))


def weights(training: Training) -> list[Tensor]:
    return [weight.detach().clone() for weight in training.model.parameters()]


# ---- optimisers ----


def matrix(kernel: Tensor) -> Tensor:
    """O×I×H×W as O×(H·W·I), entry by entry."""
    out, into, height, width = kernel.shape
    rows = [
        torch.stack(
            [kernel[o, i, y, x] for y in range(height) for x in range(width) for i in range(into)]
        )
        for o in range(out)
    ]
    return torch.stack(rows).double()


@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (12, 8, 3, 3), (24, 2, 3, 3)])
def test_muon_moves_a_kernel_by_an_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(shape).to(memory_format=torch.channels_last))
    before = kernel.detach().clone()
    kernel.grad = (
        torch.randn(shape).to(memory_format=torch.channels_last)
        * torch.linspace(1, 3, shape[0])[:, None, None, None]
    )
    Muon([kernel], lr=0.1, weight_decay=0.0).step()
    update, gradient = matrix(before - kernel.detach()), matrix(kernel.grad)
    tall = max(1, update.shape[0] / update.shape[1]) ** 0.5
    left, spread, right = torch.linalg.svd(gradient, full_matrices=False)
    turned = (
        left.T @ update @ right.T / (0.1 * tall)
    )  # diagonal where the update has the gradient's directions
    assert spread.max() / spread.min() > 2, "the gradient itself is not orthogonal"
    assert turned.diag().min() > 0.3 and turned.diag().max() < 1.5
    assert (turned - turned.diag().diag()).abs().max() < 0.05


def test_muon_moves_each_hidden_layer_in_a_training(toy: Toy) -> None:
    train = toy(channels=3)
    begun = start(recipe(optimiser="muon"), train, seed=1)
    before = weights(begun)
    next(walk(begun, Mixture(train), train))
    hidden = [
        weight - old
        for weight, old in zip(begun.model.parameters(), before, strict=True)
        if weight.ndim == 4
    ]
    assert len(hidden) == 3 and isinstance(begun.optimisers[0], Muon)
    lr = begun.optimisers[0].param_groups[0]["lr"]
    for update in hidden:
        sizes = torch.linalg.svdvals(matrix(update.detach()))
        assert sizes.max() < 1.5 * lr and sizes.mean() > 0.3 * lr


def test_muon_decays_its_weights() -> None:
    kernel = nn.Parameter(torch.ones(4, 2, 3, 3).to(memory_format=torch.channels_last))
    kernel.grad = torch.zeros_like(kernel)
    Muon([kernel], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(kernel, torch.tensor(0.95))


@pytest.mark.parametrize("model", ["fast", "resnet", "mlp", "linear"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_parameter_is_in_exactly_one_optimiser_and_decays_if_it_is_a_weight(
    toy: Toy, optimiser: str, model: str
) -> None:
    begun = start(
        recipe(model=model, activation="prelu", optimiser=optimiser, weight_decay=0.1),
        toy(),
        seed=1,
    )
    groups = [group for one in begun.optimisers for group in one.param_groups]
    taken = {
        weight.data_ptr(): group["weight_decay"] for group in groups for weight in group["params"]
    }
    learned = list(begun.model.parameters())
    assert taken == {weight.data_ptr(): 0.1 if weight.ndim > 1 else 0.0 for weight in learned}
    assert sum(len(group["params"]) for group in groups) == len(learned)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_every_parameter_learns(toy: Toy, optimiser: str) -> None:
    train = toy(channels=3)
    begun = start(recipe(optimiser=optimiser), train, seed=1)
    before = weights(begun)
    next(walk(begun, Mixture(train), train))
    assert not any(map(torch.equal, before, begun.model.parameters()))


def test_muon_leaves_the_head_to_adamw_at_a_tenth_of_the_learning_rate(toy: Toy) -> None:
    moved, rest = start(recipe(optimiser="muon", batch_size=64), toy(), seed=1).optimisers
    assert isinstance(rest, torch.optim.AdamW)
    assert [group["lr"] for group in (*moved.param_groups, *rest.param_groups)] == pytest.approx(
        [0.01, 0.001, 0.001]
    )
    assert [weight.shape[0] for weight in rest.param_groups[0]["params"]] == [2], (
        "the layer with a row a class"
    )


# ---- schedules ----


@pytest.mark.parametrize(("name", "end"), [("constant", 1.0), ("cosine", 0.0), ("one_cycle", 0.0)])
def test_a_schedule_rises_to_its_peak_and_ends_where_it_should(name: str, end: float) -> None:
    factors = np.array([SCHEDULES[name](progress) for progress in np.linspace(0, 1, 2001)])
    assert (
        (factors >= 0).all()
        and (factors <= 1).all()
        and factors.max() == pytest.approx(1.0, abs=1e-3)
    )
    assert factors[0] == pytest.approx(0.04) and factors[-1] == pytest.approx(end, abs=1e-9)
    assert np.abs(np.diff(factors)).max() < 0.011, "without a jump"
    peak = factors.argmax()
    assert (np.diff(factors[: peak + 1]) > 0).all() and (np.diff(factors[peak:]) <= 0).all()


def test_every_schedule_is_tested_here() -> None:
    assert set(SCHEDULES) == {"constant", "cosine", "one_cycle"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_step_takes_its_learning_rate_from_the_schedule(toy: Toy, name: str) -> None:
    train = toy()
    begun = start(recipe(schedule=name, epochs=2), train, seed=1)
    peak, rates = begun.set_lr(1.0), []
    for event in walk(begun, Mixture(train), train):
        if isinstance(event, Step):
            rates.append(max(group["lr"] for one in begun.optimisers for group in one.param_groups))
        else:
            assert event.lr == rates[-1]
    assert rates == pytest.approx([peak * SCHEDULES[name](step / 8) for step in range(8)])


# ---- averaged weights ----


@pytest.mark.parametrize("ema", [0.3, 0.9])
def test_the_average_follows_the_weights_by_its_decay_and_faster_at_first(
    toy: Toy, ema: float
) -> None:
    train = toy()
    begun = start(recipe(ema=ema), train, seed=1)
    expected: list[Tensor] = []
    for count, event in enumerate(
        event for event in walk(begun, Mixture(train), train) if isinstance(event, Step)
    ):
        decay = min(ema, (1 + count) / (10 + count))
        now = weights(begun)
        expected = [
            decay * old + (1 - decay) * new for old, new in zip(expected or now, now, strict=True)
        ]
        assert event.steps == 4
    averages = list(begun.outcome.parameters())
    assert all(
        torch.allclose(one, other, atol=1e-6) for one, other in zip(averages, expected, strict=True)
    )


def test_the_outcome_lies_between_the_weights_of_the_steps_and_is_none_of_them(toy: Toy) -> None:
    train = toy()
    begun = start(recipe(ema=0.8), train, seed=1)
    path = [
        {key: value.clone() for key, value in begun.model.state_dict().items()}
        for event in walk(begun, Mixture(train), train)
        if isinstance(event, Step)
    ]
    for key, value in begun.outcome.state_dict().items():
        seen = torch.stack([state[key] for state in path])
        assert (value >= seen.amin(0) - 1e-6).all() and (value <= seen.amax(0) + 1e-6).all(), key
        alike = key.endswith(("mean", "std", "tracked")) and not key.endswith("running_mean")
        assert torch.equal(value, seen[-1]) == alike, (
            f"{key}: of the statistics of normalisation, too, the average is taken"
        )


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_an_epoch_judges_the_outcome(toy: Toy, ema: float) -> None:
    train = toy()
    begun = start(recipe(ema=ema), train, seed=1)
    *_, last = walk(begun, Mixture(train), train)
    logits, labels = predict(begun.outcome, train), torch.from_numpy(train.labels.copy())
    assert (
        isinstance(last, Epoch)
        and last.valid_loss == nn.functional.cross_entropy(logits, labels).item()
    )
    assert (begun.outcome is begun.model) == (not ema)
    assert (
        last.valid_loss == nn.functional.cross_entropy(predict(begun.model, train), labels).item()
    ) == (not ema)


def test_averaging_does_not_change_the_training_itself(toy: Toy) -> None:
    train = toy()
    one, other = (start(recipe(ema=ema), train, seed=1) for ema in (0.0, 0.9))
    losses = [
        [event.train_loss for event in walk(t, Mixture(train), train) if isinstance(event, Epoch)]
        for t in (one, other)
    ]
    assert losses[0] == losses[1]
    assert all(map(torch.equal, weights(one), weights(other)))


# ---- going on in the middle of an epoch ----

BUSY = {"dropout": 0.2, "label_smoothing": 0.1, "weight_decay": 0.01, "ema": 0.9, "synthetic": 0.25}
BUSY |= {
    "flip": True,
    "shift": 1,
    "rotate": 10.0,
    "zoom": 0.1,
    "cutout": 2,
    "mixup": 0.4,
    "cutmix": 1.0,
}


def state(training: Training) -> list[Tensor]:
    """All that a training moves on, in its order."""
    assert training.average is not None
    optimisers = [one.state_dict()["state"] for one in training.optimisers]
    moments = [
        value
        for one in optimisers
        for number in sorted(one)
        for _, value in sorted(one[number].items())
    ]
    return [
        *training.model.state_dict().values(),
        *training.average.state_dict().values(),
        *moments,
    ]


@pytest.mark.parametrize(
    "stop", [1, 4, 5, 8, 14]
)  # events; 5, 10 and 15 are epochs, the others steps
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_training_restored_at_any_step_goes_on_to_the_same_bits(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: str, stop: int
) -> None:
    monkeypatch.setattr(order, "WINDOW", 24 * 192)  # of 64 images: they are streamed
    monkeypatch.setattr(order, "BLOCK", 4 * 192)
    settings, train = recipe(optimiser=optimiser, **BUSY), toy(channels=3)
    images = Mixture(train, ((toy("other", channels=3, seed=1), settings.synthetic),))
    whole, half, resumed = (start(settings, train, seed=1) for _ in range(3))
    history = list(walk(whole, images, train))
    before = list(islice(walk(half, images, train), stop))
    checkpoints.save(tmp_path / "state", half)
    checkpoints.restore(tmp_path / "state", resumed)
    assert before + list(walk(resumed, images, train)) == history and len(history) == 15
    ends = [state(whole), state(resumed)]
    assert len(ends[0]) == len(ends[1]) and all(
        torch.equal(a, b) for a, b in zip(*ends, strict=True)
    )


def test_a_checkpoint_holds_weights_averages_moments_and_the_place_in_the_epoch(
    toy: Toy, tmp_path: Path
) -> None:
    settings, train = recipe(**BUSY | {"synthetic": 0.0}), toy()
    half, resumed = (start(settings, train, seed=1) for _ in range(2))
    list(islice(walk(half, Mixture(train), train), 7))
    checkpoints.save(tmp_path / "state", half)
    checkpoints.restore(tmp_path / "state", resumed)
    assert (resumed.epoch, resumed.step, resumed.images) == (
        1,
        2,
        32,
    ) and resumed.loss == half.loss > 0
    assert all(torch.equal(a, b) for a, b in zip(state(half), state(resumed), strict=True))
