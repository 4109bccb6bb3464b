"""Heads that are solved, not trained: multinomial logistic regression on a trunk's features."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from imagetrail.models.classifier import Classifier

BLOCK = 4 << 20  # bytes of float32 rows that are worked on together: a CPU's cache holds them
ROOM = 1 << 29  # bytes of float32 rows: up to so many are kept, of more each step makes its own
LEAST = 0.01  # spread of a feature that is hardly ever seen: else it would weigh without bound
TOLERANCE, MOST = 1e-5, 500  # of the gradient, and steps
COARSE = (1.0, 0.5, 0.25)  # what coarse maps may count beside the features of the last layer
FOLDS, TRIED = 5, 1000  # that is chosen by so many, of so many rows at most
ROUGH = 1e-3  # TOLERANCE of heads that are solved for that choice alone


@dataclass(frozen=True)
class Rows:
    """Features N×D float16 with targets and weights; mean and spread of each feature."""

    features: Tensor
    targets: Tensor  # labels N int64, or shares of the classes N×K float32
    weights: Tensor  # N float32
    mean: Tensor  # D float32
    spread: Tensor  # by what each feature counts: one that counts half has twice the spread

    @classmethod
    def of(
        cls, features: Tensor, targets: Tensor, weights: Tensor, counts: Tensor | float = 1.0
    ) -> "Rows":
        total = torch.zeros(features.shape[1], dtype=torch.float64)
        squares = total.clone()
        for block in torch.split(features, _at_once(features)):
            total += block.double().sum(0)
            squares += block.double().square().sum(0)
        mean = total / len(features)
        spread = (squares / len(features) - mean.square()).clamp(min=0).sqrt() + LEAST
        return cls(features, targets, weights, mean.float(), spread.float() / counts)

    def part(self, numbers: Tensor, counts: Tensor | float) -> "Rows":
        """Some of them, by mean and spread of their own."""
        return Rows.of(*self._columns(numbers), counts)

    def beside(self, numbers: Tensor, others: "Rows") -> "Rows":
        """Some of them, by the mean and spread of others."""
        return Rows(*self._columns(numbers), others.mean, others.spread)

    def _columns(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.features[numbers], self.targets[numbers], self.weights[numbers]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Standardised features n×D float32, targets, weights."""
        size = _at_once(self.features)
        kept = 4 * self.features.numel() <= ROOM
        features = self._standardised if kept else self._standardise(size)
        others = (torch.split(rows, size) for rows in (self.targets, self.weights))
        yield from zip(features, *others, strict=True)

    @cached_property
    def _standardised(self) -> list[Tensor]:
        return list(self._standardise(_at_once(self.features)))

    def _standardise(self, size: int) -> Iterator[Tensor]:
        blocks = torch.split(self.features, size)
        return ((block.float() - self.mean) / self.spread for block in blocks)


def _at_once(features: Tensor) -> int:
    """Rows of a block."""
    return max(1, BLOCK // (4 * features.shape[1]))


def solve(model: Classifier, rows: Rows, *, penalty: float, prior: Tensor | float = 0.0) -> float:
    """Gives the model the linear head with the least loss on the rows; returns that mean loss.

    The loss has `penalty` / 2 times the squares of the weights of standardised features added, as
    scikit-learn's LogisticRegression has it with C = 1 / (penalty · N). Of features that are no
    numbers there is no such head, and the loss is none.
    It begins with a head of zeros: one that is nearly right saves no steps.
    prior: K float32, added to the logits in the loss alone, as in `losses.mean_loss`.
    """
    if not rows.spread.isfinite().all():
        return math.nan
    head = _least(rows, len(model.spec.classes), penalty, prior)
    _give(model, rows, head)
    return cross_entropy(head, rows, prior)[0]


def counts(model: Classifier, rows: Rows, *, penalty: float, prior: Tensor | float) -> Tensor:
    """What each of D features counts: 1, or less for coarse maps.

    It is what leaves the least loss on a fifth of the rows by a head that is solved on the others,
    in the sum over the fifths. Where things are, which maps tell, is much on a plain ground and
    misleads in photos, the more the fewer there are (docs/design/tried.md).
    """
    classes, coarse = len(model.spec.classes), getattr(model.trunk, "coarse", 0)
    labels = rows.targets.argmax(1) if rows.targets.is_floating_point() else rows.targets
    found, fold = torch.ones(len(rows.mean)), torch.empty_like(labels)
    if not coarse or len(labels) < 2 * FOLDS or not rows.spread.isfinite().all():
        return found
    fold[labels.argsort(stable=True)] = torch.arange(len(labels)) % FOLDS  # of each class alike

    def loss(share: float) -> float:
        found[:coarse] = share
        total = 0.0
        for number in range(FOLDS):
            seen = rows.part((fold != number).nonzero()[:, 0], found)
            held_out = rows.beside((fold == number).nonzero()[:, 0], seen)
            head = _least(seen, classes, penalty, prior, ROUGH)
            total += cross_entropy(head, held_out, prior)[0] * len(held_out.targets)
        return total

    found[:coarse] = min(COARSE, key=loss)
    return found


def _least(
    rows: Rows, classes: int, penalty: float, prior: Tensor | float, tolerance: float = TOLERANCE
) -> Tensor:
    """K×(D + 1): the head of least loss on standardised features."""
    head = torch.zeros(classes, len(rows.mean) + 1, requires_grad=True)

    def objective() -> float:
        loss, head.grad = cross_entropy(head.detach(), rows, prior)
        weight = head.detach()[:, :-1]
        head.grad[:, :-1] += penalty * weight
        return loss + penalty / 2 * float(weight.double().square().sum())

    # scipy's would have threads of its own, which wait for those of other workers
    torch.optim.LBFGS(
        [head],
        max_iter=MOST,
        history_size=10,
        tolerance_grad=tolerance,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    ).step(objective)  # type: ignore[no-untyped-call]  # as torch has it
    return head.detach()


def cross_entropy(head: Tensor, rows: Rows, prior: Tensor | float) -> tuple[float, Tensor]:
    """The mean loss and its gradient. head: K×(D + 1), the bias last."""
    weight, bias = head[:, :-1], head[:, -1] + prior
    loss, gradient = 0.0, torch.zeros_like(head)
    for features, targets, weights in rows.blocks():
        logits = torch.addmm(bias, features, weight.T)
        each = nn.functional.cross_entropy(logits, targets, reduction="none")
        loss += float((weights * each).sum())
        wrong = logits.softmax(1)
        if targets.is_floating_point():
            wrong -= targets
        else:
            wrong[torch.arange(len(targets)), targets] -= 1
        wrong *= weights[:, None]
        gradient[:, :-1].addmm_(wrong.T, features)
        gradient[:, -1] += wrong.sum(0)
    return loss / len(rows.targets), gradient / len(rows.targets)


@torch.no_grad()
def _give(model: Classifier, rows: Rows, head: Tensor) -> None:
    """A normalisation before the last layer takes mean and spread; else that layer does."""
    normalisation, last = _parts(model.head)
    weight, bias = head[:, :-1], head[:, -1]
    if normalisation is None:
        weight = weight / rows.spread
        bias = bias - weight @ rows.mean
    else:
        assert normalisation.running_mean is not None
        assert normalisation.running_var is not None
        normalisation.running_mean.copy_(rows.mean)
        normalisation.running_var.copy_(rows.spread.square() - normalisation.eps)
    last.weight.copy_(weight)
    last.bias.copy_(bias)


def _parts(head: nn.Module) -> tuple[nn.BatchNorm1d | None, nn.Linear]:
    layers = list(head.modules())
    normalisation = next((layer for layer in layers if isinstance(layer, nn.BatchNorm1d)), None)
    last = layers[-1]
    assert isinstance(last, nn.Linear), "a head ends with a linear layer"
    return normalisation, last
