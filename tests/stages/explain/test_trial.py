"""Maps are believed when they pass a test."""

import numpy as np
import pytest
import torch
from article import SPEC
from torch import Tensor, nn

from imagetrail.models.classifier import Classifier
from imagetrail.stages.explain import attribution, judgement, trial

SIDE = 28
PLACES = [(4, 4), (4, 18), (18, 4), (18, 18)]  # the corners of squares of 6 pixels


class Bright(nn.Module):
    """The brighter the square of a class, the surer it is of it: its truth is known."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spec = torch.tensor([20.0]), SPEC

    def forward(self, images: Tensor) -> Tensor:
        squares = [images.float()[:, y : y + 6, x : x + 6, 0].mean((1, 2)) for y, x in PLACES]
        return torch.stack(squares, 1) / 20


def begun(pictures: int = 32) -> trial.Trial:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (pictures, SIDE, SIDE, 1), np.uint8)
    kinds = rng.integers(0, 4, pictures)
    for image, kind in zip(images, kinds, strict=True):
        y, x = PLACES[kind]
        image[y : y + 6, x : x + 6] = 120
    model = Bright()
    given = torch.from_numpy(images)
    certain, targets = attribution.probabilities(model, given).max(1)  # type: ignore[arg-type]
    assert targets.tolist() == kinds.tolist()
    return trial.Trial(
        model,  # type: ignore[arg-type]
        Classifier(SPEC).eval(),
        given,
        targets,
        certain.double().numpy(),
        (torch.full(images.shape, 20.0), torch.full(images.shape, 15.0)),
        np.full(pictures, 0.25),
        torch.rand(pictures, trial.CELLS**2, generator=torch.Generator().manual_seed(0)),
    )


def judged(given: trial.Trial, maps: Tensor, *, methods: int = 1) -> judgement.Figures:
    """Of maps that are said to be by occlusion."""
    seen = judgement.compare(given, maps)
    return judgement.judge(given, "occlusion", maps, seen, judgement.ALPHA / methods)


def test_maps_that_tell_the_truth_pass_and_those_that_name_the_same_place_for_all_fail() -> None:
    given = begun()
    true = attribution.maps("occlusion", given.model, given.images, given.targets)
    assert true is not None
    good, bad = judged(given, true), judged(given, torch.ones_like(true))
    assert good["passed"] is True and bad["passed"] is False
    assert good["deletion_over_other_low"] > 0.3
    assert bad["deletion_over_other"] == 0  # another picture's map is the same


def test_maps_that_a_network_of_random_weights_has_too_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = begun()
    true = attribution.maps("occlusion", given.model, given.images, given.targets)
    assert true is not None
    monkeypatch.setattr(attribution, "maps", lambda *_: true[: judgement.FRESH])
    figures = judged(given, true)
    assert figures["deletion_over_other_low"] > 0 and figures["randomised"] == pytest.approx(1)
    assert figures["passed"] is False


def test_more_methods_ask_more_of_each() -> None:
    given = begun()
    noise = torch.rand(len(given.images), SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    one, many = judged(given, noise), judged(given, noise, methods=2)
    assert many["deletion_over_other_low"] < one["deletion_over_other_low"] < 0


def test_deletion_takes_the_named_cells_and_insertion_gives_them() -> None:
    given = begun()
    at_place = torch.zeros(len(given.images), SIDE, SIDE)
    for row, target in zip(at_place, given.targets.tolist(), strict=True):
        y, x = PLACES[target]
        row[y : y + 6, x : x + 6] = 1
    found = trial.curves(given, trial.cells(at_place))
    kept = given.certain[:, None]
    assert (kept - found["deletion"]).min() > 0.4  # the bright square is gone at every share
    assert np.abs(found["insertion"] - kept).max() < 0.1  # and enough alone


def test_the_curves_that_are_drawn_are_those_that_were_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = begun()
    monkeypatch.setattr(attribution, "METHODS", {"occlusion": attribution.occluded})
    finding = judgement.hold(given)["occlusion"]
    figures = finding.figures
    assert figures["passed"] and figures["pictures"] == len(finding.maps) == len(given.images)
    for kind, sign in (("deletion", -1), ("insertion", 1)):
        mine = [row for row in finding.rows if row["kind"] == kind]
        assert [row["share"] for row in mine] == [0, *trial.SHARES, 1]
        own, other, random = (
            np.array([float(row[column]) for row in mine]) for column in ("own", "other", "random")
        )
        for rival, theirs in (("other", other), ("random", random)):
            ahead = sign * (own - theirs)[1:-1].mean()
            assert ahead == pytest.approx(figures[f"{kind}_over_{rival}"], abs=1e-5)
        assert own[0] == other[0] == random[0] and own[-1] == random[-1]
        whole, bare = own[[0, -1]][::-sign]
        assert whole == pytest.approx(given.certain.mean(), abs=1e-6) and bare == 0.25


def test_a_method_that_is_behind_at_first_is_spared_the_other_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, asked = begun(30), []

    def wrong(_model: object, images: Tensor, _targets: Tensor) -> Tensor:
        asked.append(len(images))
        true = attribution.occluded(given.model, images, _targets)
        return -true

    monkeypatch.setattr(attribution, "METHODS", {"grad_cam": wrong})
    finding = judgement.hold(given)["grad_cam"]
    assert sum(asked) == finding.figures["pictures"] == 10 and not finding.figures["passed"]
    assert "randomised" not in finding.figures and finding.figures["deletion_over_random"] < 0


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_pictures_are_tried_without_a_fault(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "METHODS", {"occlusion": attribution.occluded})
    assert judgement.hold(begun(count))["occlusion"].figures["pictures"] in (2, count)


def test_of_equal_cells_chance_decides_and_not_the_place() -> None:
    given = begun()
    flat = trial.curves(given, torch.zeros(len(given.images), trial.CELLS**2))
    by_chance = trial.curves(given, -given.ties)
    assert flat["deletion"].tolist() == by_chance["deletion"].tolist()


def test_a_correlation_with_a_constant_map_is_none() -> None:
    rows = torch.rand(3, 9, generator=torch.Generator().manual_seed(0))
    assert judgement.correlation(rows, torch.ones(3, 9)).tolist() == [0, 0, 0]
    assert judgement.correlation(rows, 2 * rows) == pytest.approx(1)


def test_the_network_of_random_weights_leaves_the_stream_and_the_model_alone() -> None:
    model = Classifier(SPEC).eval()
    before, state = torch.random.get_rng_state(), model.state_dict()
    weight = next(iter(model.parameters())).clone()
    made = trial.begin(model, torch.zeros(2, *SPEC.shape, dtype=torch.uint8), 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(next(iter(model.parameters())), weight) and state.keys()
    assert not torch.equal(next(iter(made.random.parameters())), weight)
