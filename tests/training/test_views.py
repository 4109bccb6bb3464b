"""Pretrained networks: a head is solved on frozen features, or all layers learn from there."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from imagetrail.base import paths, samples
from imagetrail.base.samples import Samples
from imagetrail.models.classifier import Classifier
from imagetrail.models.inference import predict
from imagetrail.models.weights import save_weights, trunk_weights
from imagetrail.training import blends, checkpoints, jobs, optimisers, views
from imagetrail.training.batches import Mixture
from imagetrail.training.data import FOLDERS
from imagetrail.training.features import Extractor
from imagetrail.training.heads import Rows
from imagetrail.training.loop import Diverged, Epoch, Step, fit, start, walk
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import STILL, Training
from imagetrail.training.views import Views

Toy = Callable[..., Samples]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recipe(**changes: Any) -> Recipe:
    plain = {"model": "fast", "activation": "relu", "width": 0.25, "epochs": 3, "lr": 0.01}
    frozen = {"fine_tune": False, "batch_size": 16, "shift": 1, "optimiser": "adamw"}
    return Recipe(**(plain | frozen | changes))


def begun(settings: Recipe, train: Samples) -> Training:
    known = trunk_weights(start(recipe(), train, seed=7).model)
    return start(settings, train, seed=1, pretrained=known)


def state(training: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], part: str = "") -> bool:
    return all(torch.equal(one[name], other[name]) for name in one if name.startswith(part))


# ---- frozen ----


def test_what_a_frozen_training_gives_has_the_head_that_was_solved(toy: Toy) -> None:
    train = toy()
    training = begun(recipe(ema=0.99, blend=0.5), train)
    history = list(fit(training, Mixture(train), train))
    right = predict(training.outcome, train).argmax(1).numpy() == train.labels
    assert right.mean() == history[-1].valid_top1 == 1.0


def test_a_frozen_trunk_stays_bit_for_bit_and_its_head_tells_the_classes(toy: Toy) -> None:
    train = toy()
    training = begun(recipe(), train)
    before = state(training)
    history = list(fit(training, Mixture(train), train))
    assert [epoch.number for epoch in history] == [1, 2, 3]
    assert history[-1].valid_top1 == 1.0
    assert same(before, state(training), "trunk") and not same(before, state(training), "head")


def test_a_head_believes_labels_as_far_as_they_are_sure(toy: Toy) -> None:
    train = toy()
    half = pa.array([0.5] * len(train))
    doubted = replace(train, index=train.index.append_column(samples.CERTAINTY, half))
    training = begun(recipe(), doubted)
    list(fit(training, Mixture(doubted), train))
    shares = predict(training.outcome, train).softmax(1)
    assert (shares - 0.5).abs().max() < 0.01, "of two classes such a label says nothing"


def test_what_an_epoch_says_of_valid_is_what_the_model_answers(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGETRAIL_PRECISION", "float32")
    train, valid = toy(), toy("valid", seed=5)
    training = begun(recipe(epochs=1), train)
    (epoch,) = fit(training, Mixture(train), valid)
    labels = torch.from_numpy(valid.labels.copy())
    loss = torch.nn.functional.cross_entropy(predict(training.outcome, valid), labels)
    assert epoch.valid_loss == pytest.approx(loss.item(), rel=1e-2)


def test_each_epoch_adds_a_view_of_every_picture_and_the_first_is_plain(toy: Toy) -> None:
    train = toy(count=20)
    rows = Views(begun(recipe(), train), Mixture(train, repeat_to=1000))
    assert sum(rows.add(1)) == 20
    plain = {tuple(row) for row in torch.cat(rows.features).tolist()}
    every = Extractor(rows.training.model)(torch.from_numpy(train.images.copy()))
    assert plain == {tuple(row) for row in every.tolist()}
    assert sum(rows.add(2)) == sum(rows.add(3)) == 20
    second, third = (rows.features[at].float().sort(0).values for at in (1, 2))
    assert not torch.equal(second, third)


def test_two_views_in_a_row_have_each_picture_as_it_is_and_mirrored(toy: Toy) -> None:
    train = toy(count=20)
    rows = Views(begun(recipe(flip=True, shift=0), train), Mixture(train))
    assert sum(rows.add(2)) == sum(rows.add(3)) == 20
    plain, extract = torch.from_numpy(train.images.copy()), Extractor(rows.training.model)
    both = torch.cat([extract(plain), extract(plain.flip(2))])
    assert sorted(torch.cat(rows.features).tolist()) == sorted(both.tolist())


def test_what_maps_count_is_chosen_once_on_the_first_view_and_is_in_the_head(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, asked = toy(count=20), list[int]()
    settings = recipe(model="efficientnet_lite0", enlarge=5)
    known = trunk_weights(start(settings, train, seed=7).model)

    def variances(share: float) -> torch.Tensor:
        def counts(model: Classifier, rows: Rows, **_: Any) -> torch.Tensor:
            asked.append(len(rows.targets))
            found = torch.ones(len(rows.mean))
            found[: model.trunk.coarse] = share  # type: ignore[index,misc]
            return found

        monkeypatch.setattr(views, "counts", counts)
        training = start(settings, train, seed=1, pretrained=known)
        rows = Views(training, Mixture(train))
        for number in (1, 2):
            assert sum(rows.add(number)) == 20
        rows.solve()
        rows.solve()
        variance = training.model.head[0].running_var
        assert isinstance(variance, torch.Tensor)
        return variance + training.model.head[0].eps

    ratio = (variances(0.25) / variances(1.0)).round().long()
    assert asked == [20, 20] and set(ratio.tolist()) == {1, 16}
    assert ratio.argmin() == (ratio == 16).sum(), "the maps come first"


def test_no_picture_is_lost_to_a_last_batch_of_one(toy: Toy) -> None:
    train = toy(count=views.READ + 1)
    rows = Views(begun(recipe(), train), Mixture(train))
    assert sum(rows.add(1)) == views.READ + 1


def test_pictures_held_out_and_beyond_the_limit_are_in_no_row(toy: Toy) -> None:
    train = toy()
    out = np.arange(0, 64, 3)
    rows = Views(begun(recipe(), train), Mixture(train, limit=30, held_out=(out,)))
    assert sum(rows.add(1)) == sum(rows.add(2)) == 30
    hidden = Extractor(rows.training.model)(torch.from_numpy(train.images[out].copy()))
    known = {tuple(row) for row in rows.features[0].tolist()}
    assert not known & {tuple(row) for row in hidden.tolist()}


def test_a_second_training_computes_no_features(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = toy(), toy("valid", seed=5)
    first = begun(recipe(), train)
    history = list(fit(first, Mixture(train), valid))
    computed: list[int] = []
    compute = Extractor._compute

    def counted(extract: Extractor, pictures: torch.Tensor) -> np.ndarray:
        computed.append(len(pictures))
        return compute(extract, pictures)

    monkeypatch.setattr(Extractor, "_compute", counted)
    second = begun(recipe(), train)
    assert list(fit(second, Mixture(train), valid)) == history
    assert same(state(first), state(second))
    assert computed == [2], "only what the store is named after"
    other = begun(recipe(penalty=10.0), train)
    assert list(fit(other, Mixture(train), valid)) != history
    assert computed == [2, 2]


TUNED = {"fine_tune": True, "ema": 0.9, "layer_decay": 0.7, "dropout": 0.1, "blend": 0.5}


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        *(({}, n) for n in (1, 2, 4)),
        *((TUNED, n) for n in (1, 3, 6)),
        (TUNED | {"blend": None}, 8),
    ],
)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(
    toy: Toy, settings: dict[str, Any], steps: int
) -> None:
    train = toy()
    whole, half, resumed = (begun(recipe(**settings), train) for _ in range(3))
    history = list(fit(whole, Mixture(train), train))
    before = [
        event
        for event in islice(walk(half, Mixture(train), train), steps)
        if isinstance(event, Epoch)
    ]
    checkpoints.save(Path("state"), half)
    checkpoints.restore(Path("state"), resumed)
    assert before + list(fit(resumed, Mixture(train), train)) == history
    assert same(state(whole), state(resumed))
    assert same(whole.outcome.state_dict(), resumed.outcome.state_dict())
    assert list(fit(whole, Mixture(train), train)) == []


def test_rungs_of_a_search_are_views_and_in_parts_they_are_those_at_once(toy: Toy) -> None:
    for folder in FOLDERS:
        toy(folder.as_posix())
    train = samples.read(FOLDERS[0])
    save_weights(trunk_weights(start(recipe(), train, seed=7).model), paths.PRETRAINED)
    inputs = {"where": str(Path.cwd())}

    def rows(until: int, facts: str) -> list[dict[str, float]] | None:
        job = jobs.Job(inputs, recipe(), 40, 0, until, checkpoints.folder("tune", facts))
        return jobs.train(job)

    whole = rows(3, "at once")
    shutil.rmtree(".imagetrail/trainings")
    assert whole and [rows(until, "in parts") for until in (1, 2, 3)] == [
        whole[:until] for until in (1, 2, 3)
    ]


def test_without_the_store_a_training_comes_to_the_same_bits(toy: Toy) -> None:
    train = toy()
    first, second = (begun(recipe(), train) for _ in range(2))
    list(fit(first, Mixture(train), train))
    for file in Path(".imagetrail/features").iterdir():
        file.unlink()
    list(fit(second, Mixture(train), train))
    assert same(state(first), state(second))


def test_rows_that_fill_memory_are_the_last(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    train = toy()
    rows = Views(begun(recipe(), train), Mixture(train))
    monkeypatch.setattr(views, "MEMORY", 1)
    assert [sum(rows.add(number)) for number in (1, 2, 3)] == [64, 0, 0]


def test_weights_that_are_no_numbers_end_a_training_with_one_line(toy: Toy) -> None:
    train = toy()
    training = begun(recipe(), train)
    with torch.no_grad():
        next(training.model.trunk.parameters()).fill_(torch.nan)
    with pytest.raises(Diverged, match=r"^the loss of the head became nan in epoch 1"):
        list(fit(training, Mixture(train), train))


def test_without_pretrained_weights_nothing_is_frozen(toy: Toy) -> None:
    train = toy()
    training = start(recipe(), train, seed=1)
    before = state(training)
    list(fit(training, Mixture(train), train))
    assert training.recipe.fine_tune and not same(before, state(training), "trunk")


# ---- fine-tuned ----


def test_layers_that_would_hardly_move_stay_bit_for_bit_and_the_others_learn(toy: Toy) -> None:
    train = toy()
    layers = len(optimisers.by_rate(begun(recipe(), train).model, 0.5))
    decay = STILL ** (1 / (layers - 1.5))  # the first layer alone is below
    training = begun(recipe(fine_tune=True, layer_decay=decay), train)
    (_, first), *others = optimisers.by_rate(training.model, decay)
    before = state(training)
    list(fit(training, Mixture(train), train))
    after = training.model.state_dict()
    still = {name for name, value in training.model.named_parameters() if not value.requires_grad}
    assert len(still) == len(first) and len(others) == layers - 1
    for name, _ in training.model.named_parameters():
        assert torch.equal(before[name], after[name]) == (name in still), name


def test_fine_tuning_begins_with_the_head_that_is_solved(toy: Toy) -> None:
    train = toy()
    frozen, tuned = (begun(recipe(fine_tune=on, epochs=1), train) for on in (False, True))
    list(fit(frozen, Mixture(train), train))
    assert isinstance(next(iter(walk(tuned, Mixture(train), train))), Step)
    for event in walk(tuned, Mixture(train), train):
        if isinstance(event, Step) and event.number == 0:
            continue
        break
    # one step with a small learning rate is all that is between them
    gaps = [(state(frozen)[name] - value).abs().max() for name, value in state(tuned).items()]
    assert 0 < max(gap.item() for gap in gaps) < 0.02


def test_fine_tuning_moves_all_weights_and_no_statistics_of_normalisation(toy: Toy) -> None:
    train = toy()
    training = begun(recipe(fine_tune=True), train)
    before = state(training)
    assert list(fit(training, Mixture(train), train))[-1].valid_top1 == 1.0
    for name, value in state(training).items():
        kept = "running" in name or "tracked" in name or name in ("mean", "std")
        assert torch.equal(value, before[name]) == kept, name


def test_a_blend_is_between_where_all_layers_began_and_where_they_ended(toy: Toy) -> None:
    train = toy()
    frozen, whole, part = (
        begun(recipe(epochs=1, **changes), train)
        for changes in ({}, {"fine_tune": True}, {"fine_tune": True, "blend": 0.25})
    )
    for training in (frozen, whole, part):
        list(fit(training, Mixture(train), train))
    assert same(state(whole), state(part)), "both learn the same"
    first, last, between = (training.outcome.state_dict() for training in (frozen, whole, part))
    for name, value in between.items():
        if value.is_floating_point():
            expected = first[name] + 0.25 * (last[name] - first[name])
            assert torch.allclose(value, expected, atol=1e-6)


def test_a_blend_that_is_chosen_is_best_on_valid_and_is_judged_by_other_images(toy: Toy) -> None:
    train, valid = toy(), toy("valid", seed=5)
    training = begun(recipe(fine_tune=True, lr=0.3, epochs=2, blend=None), train)
    shown = list(fit(training, Mixture(train), valid))[-1]
    labels = torch.from_numpy(valid.labels.copy())
    answers = torch.stack([predict(training.at(share), valid) for share in blends.BLENDS])
    assert training.blend == blends.BLENDS[blends.best(answers, labels)]
    judged = blends.by_other_half(answers, labels)
    loss = torch.nn.functional.cross_entropy(judged, labels).item()
    assert shown.valid_loss == pytest.approx(loss, rel=1e-5)
