"""Losses do what their papers say, whatever the targets are."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.base.samples import CERTAINTY, WEIGHT, Samples
from imagetrail.models.inference import predict
from imagetrail.training import losses
from imagetrail.training.batches import Batch, Mixture
from imagetrail.training.loop import fit, start
from imagetrail.training.losses import LOSSES, mean_loss, targets_of
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 3.0], [1.0, 1.0, 1.0], [-2.0, 4.0, 0.0]])
LABELS = torch.tensor([0, 1, 2, 1])


def recipe(**changes: Any) -> Recipe:
    plain = {"model": "fast", "activation": "relu", "epochs": 3, "lr": 0.02, "width": 0.25}
    return Recipe(**(plain | {"batch_size": 16, "optimiser": "adamw"} | changes))


def batch(weights: Tensor, certainties: Tensor | None = None) -> Batch:
    sure = torch.ones(len(LABELS)) if certainties is None else certainties
    return Batch(torch.empty(len(LABELS), 0), LABELS, weights, sure, LABELS == 0)


def one_hot(labels: Tensor = LABELS) -> Tensor:
    return functional.one_hot(labels, 3).float()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_and_the_same_as_shares_cost_the_same(loss: str, smoothing: float) -> None:
    settings = recipe(loss=loss, label_smoothing=smoothing)
    found = mean_loss(settings, LOGITS, LABELS)
    assert found > 0 and torch.allclose(found, mean_loss(settings, LOGITS, one_hot()))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_shares_is_torchs(smoothing: float) -> None:
    shares = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6], [0.5, 0.5, 0.0]])
    expected = functional.cross_entropy(LOGITS, shares, label_smoothing=smoothing)
    settings = recipe(label_smoothing=smoothing)
    assert torch.allclose(mean_loss(settings, LOGITS, shares), expected)


def test_the_focal_loss_is_cross_entropy_times_the_square_of_what_is_missing() -> None:
    right = LOGITS.softmax(1)[torch.arange(4), LABELS]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(mean_loss(recipe(loss="focal"), LOGITS, LABELS), expected)


def test_the_symmetric_loss_adds_what_is_claimed_of_other_classes() -> None:
    """Reverse cross-entropy of a plain label is 4 times the probability of all other classes."""
    right = LOGITS.softmax(1)[torch.arange(4), LABELS]
    expected = (-0.1 * right.log() + 4 * (1 - right)).mean()
    assert torch.allclose(mean_loss(recipe(loss="symmetric"), LOGITS, LABELS), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_has_a_finite_gradient_where_the_model_is_certain(loss: str) -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0], [200.0, 0.0, 0.0]], requires_grad=True)
    mean_loss(recipe(loss=loss), logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_counts_as_so_many_images(loss: str) -> None:
    settings = recipe(loss=loss, label_smoothing=0.1)
    weights = torch.tensor([3.0, 1.0, 0.0, 0.0])
    found = mean_loss(settings, LOGITS, targets_of(batch(weights), 3))
    again = torch.tensor([0, 0, 0, 1])
    assert torch.allclose(found, mean_loss(settings, LOGITS[again], LABELS[again]))


def test_of_a_label_that_is_not_sure_the_other_classes_have_the_rest() -> None:
    weights, sure = torch.tensor([1.0, 1.0, 2.0, 1.0]), torch.tensor([1.0, 0.6, 0.5, 0.9])
    expected = torch.tensor([[1, 0, 0], [0.2, 0.6, 0.2], [0.5, 0.5, 1.0], [0.05, 0.9, 0.05]])
    assert torch.allclose(targets_of(batch(weights, sure), 3), expected)
    found = targets_of(batch(torch.ones(4), sure), 3)
    each = expected / weights[:, None]
    assert torch.allclose(
        mean_loss(recipe(), LOGITS, found), functional.cross_entropy(LOGITS, each)
    )


def test_without_weights_the_labels_stay_as_they_are() -> None:
    assert targets_of(batch(torch.ones(4)), 3) is LABELS


def test_logit_adjustment_is_the_softmax_that_draws_classes_by_their_shares() -> None:
    shares, tau = torch.tensor([0.9, 0.09, 0.01]), 1.5
    expected = functional.cross_entropy(LOGITS + tau * shares.log(), LABELS)
    settings = recipe(logit_adjustment=tau)
    assert torch.allclose(mean_loss(settings, LOGITS, LABELS, shares), expected)
    even = torch.full((3,), 1 / 3)
    assert torch.allclose(
        mean_loss(settings, LOGITS, LABELS, even), mean_loss(recipe(), LOGITS, LABELS)
    )


def test_adjusted_and_smoothed_the_best_answer_claims_all_other_classes_alike() -> None:
    shares, smoothing = torch.tensor([0.9, 0.09, 0.01]), 0.1
    settings = recipe(logit_adjustment=1.0, label_smoothing=smoothing)
    for label in range(3):
        best = torch.full((1, 3), math.log(smoothing))
        best[0, label] = ((1 - smoothing) / shares[label] + smoothing).log()
        best.requires_grad_()
        mean_loss(settings, best, torch.tensor([label]), shares).backward()
        assert best.grad is not None and torch.allclose(best.grad, torch.zeros(3), atol=1e-6)


# ---- trained ----


def unequal(make: Callable[..., Samples], *, rare: int = 6) -> Samples:
    """A hundred dark pictures, and a few a little brighter, so alike that some guess is needed."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.zeros(100, np.int64), np.ones(rare, np.int64)]
    grey = rng.normal(100, 20, len(labels)) + 30 * labels
    images = np.tile(grey.clip(0, 255).astype(np.uint8)[:, None, None, None], (1, 8, 8, 1))
    return make("unequal", images, labels)


def rare_answers(train: Samples, *, balance: float = 0.0, **changes: Any) -> float:
    """The share of all pictures that a model takes for the rare class."""
    begun = start(recipe(model="linear", epochs=10, lr=0.05, **changes), train, seed=0)
    for _ in fit(begun, Mixture(train, balance=balance), train):
        pass
    return float((predict(begun.outcome, train).argmax(1) == 1).double().mean())


def test_balance_and_logit_adjustment_have_the_rare_class_answered_more_often(
    make_samples: Callable[..., Samples],
) -> None:
    train = unequal(make_samples)
    plain = rare_answers(train)
    assert rare_answers(train, balance=1.0) > plain + 0.1
    assert rare_answers(train, logit_adjustment=1.0) > plain + 0.1


def trained(train: Samples, **changes: Any) -> Training:
    begun = start(recipe(**changes), train, seed=1)
    for _ in fit(begun, Mixture(train), train):
        pass
    return begun


def with_column(samples: Samples, values: list[float], name: str = WEIGHT) -> Samples:
    index = samples.index.append_column(name, pa.array(values, pa.float64()))
    return Samples(samples.images, index, samples.classes)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4}, {"cutmix": 1.0}])
def test_equal_weights_change_nothing_whatever_they_are(
    toy: Callable[..., Samples], mixing: dict[str, float]
) -> None:
    train = toy()
    plain = trained(train, **mixing).model.state_dict()
    same = trained(with_column(train, [2.5] * len(train)), **mixing).model.state_dict()
    assert all(torch.equal(plain[name], same[name]) for name in plain)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4}])
@pytest.mark.parametrize(("column", "value"), [(WEIGHT, 0.0), (CERTAINTY, 0.5)])
def test_labels_of_no_weight_or_of_even_odds_are_not_learned(
    toy: Callable[..., Samples], column: str, value: float, mixing: dict[str, float]
) -> None:
    """Half of the labels are the other one."""
    train = toy()
    wrong = np.arange(len(train)) % 4 < 2
    place = train.index.column_names.index("label")
    labels = pa.array(np.where(wrong, 1 - train.labels, train.labels))
    noisy = Samples(train.images, train.index.set_column(place, "label", labels), train.classes)
    said = np.where(wrong, value, 1.0).tolist()
    begun = trained(with_column(noisy, said, column), epochs=6, **mixing)
    answers = predict(begun.outcome, train).argmax(1).numpy()
    assert (answers == train.labels).mean() > 0.9


def test_a_student_learns_the_teachers_answers_unadjusted_and_by_weight(
    toy: Callable[..., Samples],
) -> None:
    train = with_column(toy(), [1.0, 3.0] * 32)
    teacher = trained(toy("same"))
    begun = start(recipe(logit_adjustment=1.0), train, seed=2)
    begun.teacher = teacher.outcome
    (epoch, *_) = list(fit(begun, Mixture(train), train, until=1))
    assert begun.shares is None and math.isfinite(epoch.train_loss)


def test_the_table_of_losses_is_what_a_recipe_may_name() -> None:
    for name in losses.LOSSES:
        assert recipe(loss=name).loss == name
