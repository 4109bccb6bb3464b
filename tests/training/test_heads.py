"""A solved head is the one with the least loss, as scikit-learn finds it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from imagetrail.base.samples import Samples
from imagetrail.models.classifier import Classifier
from imagetrail.training import heads
from imagetrail.training.heads import Rows, solve
from imagetrail.training.loop import start
from imagetrail.training.losses import believed
from imagetrail.training.recipe import Recipe

Toy = Callable[..., Samples]
NETWORKS = ("mlp", "efficientnet_lite0")  # whose head has no normalisation, and one


def model(train: Samples, name: str) -> Classifier:
    recipe = Recipe(model=name, activation="relu", width=0.25, epochs=1, lr=0.1)
    return start(recipe, train, seed=0).model.cpu().eval()


def rows(model: Classifier, *, count: int = 300, weighed: bool = False) -> Rows:
    """Features of widths as unlike as those of a network; some are the same in all pictures."""
    rng = np.random.default_rng(1)
    weight = model.head[-1].weight
    labels = rng.integers(0, 2, count)
    values = rng.normal(size=(count, weight.shape[1])) * rng.gamma(1, 1, weight.shape[1])
    values[:, :20] += 0.7 * labels[:, None]
    values[:, 20:25] = 3
    weights = torch.from_numpy(rng.gamma(2, 0.5, count)).float() if weighed else torch.ones(count)
    return Rows.of(torch.from_numpy(values).half(), torch.from_numpy(labels), weights)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_a_solved_head_is_the_logistic_regression_of_scikit_learn(
    toy: Toy, name: str, penalty: float, weighed: bool
) -> None:
    network = model(toy(), name)
    seen = rows(network, weighed=weighed)
    loss = solve(network, seen, penalty=penalty)
    scaled = ((seen.features.float() - seen.mean) / seen.spread).numpy()
    # two classes as scikit-learn has them differ by one weight, with half the penalty of two
    theirs = LogisticRegression(C=2 / (penalty * len(scaled)), max_iter=2000, tol=1e-8)
    weights = seen.weights.numpy()
    expected = theirs.fit(scaled, seen.targets.numpy(), weights).predict_proba(scaled)
    with torch.no_grad():
        found = network.head(seen.features.float()).softmax(1).numpy()
    assert np.abs(found - expected).max() < 2e-3
    right = expected[np.arange(len(scaled)), seen.targets.numpy()]
    assert loss == pytest.approx(-(weights * np.log(right)).mean(), abs=1e-3)


def test_shares_of_classes_count_as_rows_of_every_class(toy: Toy) -> None:
    network = model(toy(), "mlp")
    plain = rows(network)
    sure = torch.from_numpy(np.random.default_rng(2).choice([1.0, 0.75, 0.5], 300)).float()
    shares = believed(plain.targets, sure, 2)

    def twice(column: torch.Tensor) -> torch.Tensor:
        return torch.cat([column, column])

    both = Rows.of(
        twice(plain.features),
        torch.cat([plain.targets, 1 - plain.targets]),
        2 * torch.cat([sure, 1 - sure]),
    )
    answers, losses = [], []
    for seen in (replace(plain, targets=shares), both):
        losses.append(solve(network, seen, penalty=0.1))
        with torch.no_grad():
            answers.append(network.head(plain.features.float()).softmax(1))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert (answers[0] - answers[1]).abs().max() < 2e-3


def test_what_is_added_in_the_loss_alone_is_taken_from_the_answers(toy: Toy) -> None:
    network = model(toy(), "mlp")
    seen, prior = rows(network), torch.tensor([0.0, 1.5])

    def margin() -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = network.head(seen.features.float())
        return logits[:, 1] - logits[:, 0]

    solve(network, seen, penalty=0.1)
    plain = margin()
    solve(network, seen, penalty=0.1, prior=prior)
    assert torch.allclose(margin(), plain - 1.5, atol=2e-3)


@pytest.mark.parametrize("room", [0, heads.ROOM])
def test_many_rows_are_taken_block_by_block(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    network = model(toy(), "mlp")
    seen = rows(network)
    whole = solve(network, seen, penalty=0.1)
    monkeypatch.setattr(heads, "BLOCK", 7 * 4 * seen.features.shape[1])
    monkeypatch.setattr(heads, "ROOM", room)
    again = Rows.of(seen.features, seen.targets, seen.weights)
    assert [len(labels) for _, labels, _ in again.blocks()] == [7] * 42 + [6]
    assert torch.allclose(again.mean, seen.mean) and torch.allclose(again.spread, seen.spread)
    assert solve(network, again, penalty=0.1) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize(("telling", "share"), [("maps", 1.0), ("last", 0.25)])
def test_coarse_maps_count_as_much_as_answers_held_out_rows_best(
    toy: Toy, telling: str, share: float
) -> None:
    network = model(toy(), "efficientnet_lite0")
    rng, coarse, count = np.random.default_rng(3), network.trunk.coarse, 60
    assert isinstance(coarse, int)
    labels = rng.integers(0, 2, count)
    values = rng.normal(size=(count, network.head[-1].weight.shape[1]))
    tell = slice(coarse) if telling == "maps" else slice(coarse, None)
    values[:, tell] += 0.3 * (2 * labels[:, None] - 1)
    columns = torch.from_numpy(values).half(), torch.from_numpy(labels), torch.ones(count)
    found = heads.counts(network, Rows.of(*columns), penalty=0.1, prior=0.0)
    assert found[:coarse].tolist() == [share] * coarse and bool((found[coarse:] == 1).all())
    seen = Rows.of(*columns, found)
    solve(network, seen, penalty=0.1)
    scaled = (values - seen.mean.numpy()) / (seen.spread * found).numpy() * found.numpy()
    theirs = LogisticRegression(C=2 / (0.1 * count), max_iter=2000, tol=1e-8).fit(scaled, labels)
    with torch.no_grad():
        answers = network.head(seen.features.float()).softmax(1).numpy()
    assert np.abs(answers - theirs.predict_proba(scaled)).max() < 5e-3


def test_a_head_without_maps_or_with_few_rows_counts_all_features_alike(toy: Toy) -> None:
    for name, count in (("mlp", 300), ("efficientnet_lite0", 9)):
        network = model(toy(), name)
        found = heads.counts(network, rows(network, count=count), penalty=0.1, prior=0.0)
        assert bool((found == 1).all())


def test_a_feature_that_never_changed_has_no_weight(toy: Toy) -> None:
    network = model(toy(), "efficientnet_lite0")
    solve(network, rows(network), penalty=0.1)
    assert torch.equal(network.head[-1].weight[:, 20:25], torch.zeros(2, 5))
