"""`imagetrail drift` on scikit-learn's real digits: an alarm where they changed, and only there."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from tiny_onnx import noise, proto, write

from imagetrail.base.rng import generator
from imagetrail.base.samples import Images
from imagetrail.serving import drift, onnx_model, two_sample
from imagetrail.serving.drift import Reference
from imagetrail.serving.onnx_model import Model
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS

FITTED = 600  # digits that the network learns from; the others are news to it


@pytest.fixture(scope="module")
def digits() -> Images:
    images = np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]
    return images[generator(0, "order").permutation(len(images))]


@pytest.fixture(scope="module")
def model(digits: Images, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network that knows the digits."""
    labels = load_digits().target[generator(0, "order").permutation(len(digits))]
    fitted = MLPClassifier(32, solver="lbfgs", alpha=0.1, random_state=0, max_iter=500).fit(
        digits[:FITTED].reshape(-1, 64) / 255.0, labels[:FITTED]
    )
    weights, biases = (
        [array.astype(np.float32) for array in arrays]
        for arrays in (fitted.coefs_, fitted.intercepts_)
    )
    made = proto((weights[0] / 255, biases[0]), (weights[1], biases[1]), classes=list("0123456789"))
    opened = onnx_model.load(write(tmp_path_factory.mktemp("model") / "model.onnx", made))
    assert (opened.predict(digits[FITTED:]).argmax(1) == labels[FITTED:]).mean() > 0.9
    return opened


def reference_of(model: Model, images: Images) -> Reference:
    probabilities, features = model.run(images)
    return Reference(features, np.bincount(probabilities.argmax(1), minlength=10))


def verdict(
    model: Model, reference: Reference, images: Images, *, seed: int = 0
) -> dict[str, object]:
    """The judgement of pictures in memory."""
    probabilities, features = model.run(images)
    counts = np.bincount(probabilities.argmax(1), minlength=10)
    names = [str(i) for i in range(len(images))]
    seen = drift.Seen(names, two_sample.nearest(features, reference.features), counts, features, [])
    return drift.judge(reference, seen, alpha=0.01, seed=seed)


def test_of_100_undrifted_batches_5_at_most_raise_an_alarm(
    digits: Images, model: Model, record_property: Callable[[str, object], None]
) -> None:
    alarms = 0
    for batch in range(100):
        order = FITTED + generator(1, "batch", batch).permutation(len(digits) - FITTED)
        found = verdict(
            model, reference_of(model, digits[order[100:600]]), digits[order[:100]], seed=batch
        )
        alarms += found["verdict"] == "drift"
    record_property("drift", f"{alarms} alarms in 100 undrifted batches, at alpha 0.01")
    assert alarms <= 5  # 1 is expected; 6 or more would be chance once in 2000 times


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_of_strength_2_is_raised(digits: Images, model: Model, name: str) -> None:
    new = CORRUPTIONS[name](digits[-200:], 2, generator(0, name))
    assert verdict(model, reference_of(model, digits[FITTED:-200]), new)["verdict"] == "drift"


def test_usual_pictures_in_unusual_proportion_are_raised_by_their_classes(
    digits: Images, model: Model
) -> None:
    reference, predicted = (
        reference_of(model, digits[FITTED:-400]),
        model.predict(digits[-400:]).argmax(1),
    )
    new = digits[-400:][(predicted < 5) | (np.arange(400) % 3 == 0)]
    found = verdict(model, reference, new)
    assert found["verdict"] == "drift" and found["classes"]["p"] <= 0.005
    assert 0.15 < found["classes"]["total_variation"] < 0.35


@pytest.mark.parametrize("sizes", [(60, 15), (15, 60), (40, 40)])
def test_p_values_are_as_small_as_they_say_no_oftener_than_they_say(sizes: tuple[int, int]) -> None:
    energy, balance = [], []
    for trial in range(300):
        rng = generator(0, "trial", trial)
        left, right = (rng.exponential(size=(size, 3)).astype(np.float32) for size in sizes)
        energy.append(two_sample.energy_test(left, right, draws=99, rng=rng).p)
        counts = (
            np.bincount(rng.choice(3, size, p=[0.6, 0.3, 0.1]), minlength=3) for size in sizes
        )
        balance.append(two_sample.balance_test(*counts, draws=99, rng=rng).p)
    for bound in (0.05, 0.2, 0.5):
        spread = 3 * np.sqrt(bound * (1 - bound) / 300)
        assert abs(np.mean(np.array(energy) <= bound) - bound) < spread
        assert np.mean(np.array(balance) <= bound) < bound + spread  # of counts, many are ties


def test_the_energy_distance_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    left, right = (
        rng.normal(size=(12, 4)).astype(np.float32),
        rng.normal(1, size=(9, 4)).astype(np.float32),
    )
    both = two_sample.whitening(np.concatenate([left, right]))

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(x - y) for x in both(a) for y in both(b)]))

    expected = 1 - (mean(left, left) + mean(right, right)) / (2 * mean(left, right))
    assert two_sample.energy_test(left, right, draws=9, rng=rng).effect == pytest.approx(
        expected, rel=1e-3
    )
    assert two_sample.energy_test(left, left, draws=99, rng=rng).effect == pytest.approx(
        0, abs=1e-6
    )
    assert two_sample.energy_test(left, left + 1000, draws=99, rng=rng).effect > 0.4


def test_whitened_features_vary_alike_and_do_not_correlate(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = (
        rng.normal(size=(500, 6)) * [9, 7, 5, 3, 1, 0] @ rng.normal(size=(6, 6)) + 40
    ).astype(np.float32)
    monkeypatch.setattr(two_sample, "DAMPING", 0)
    monkeypatch.setattr(two_sample, "COMPONENTS", 4)
    assert np.cov(two_sample.whitening(features)(features).T) == pytest.approx(np.eye(4), abs=0.01)
    assert not two_sample.whitening(np.ones((9, 6), np.float32))(np.ones((9, 6), np.float32)).any()


def test_distances_to_the_nearest_leave_a_picture_itself_out() -> None:
    points = np.arange(12, dtype=np.float32)[:, None] ** 2
    expected = [np.sort(np.abs(points - point).ravel())[1:6].mean() for point in points]
    assert two_sample.nearest(points, points, same=True) == pytest.approx(expected, rel=1e-3)
    assert two_sample.nearest(points + 0.5, points)[0] == pytest.approx(
        np.sort(np.abs(points - 0.5).ravel())[:5].mean(), rel=1e-3
    )


# ---- the command ----

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run: Run, tmp_path: Path, digits: Images, model: Model) -> Run:
    """The same beside a champion and the folders `same` and `other`."""
    champion = tmp_path / "champion/model"
    champion.mkdir(parents=True)
    (champion / "model.onnx").write_bytes(model.session._model_bytes)
    reference = reference_of(model, digits[FITTED:-300])
    np.savez(champion / "reference.npz", features=reference.features, counts=reference.counts)
    save(tmp_path / "same", digits[-300:])
    save(tmp_path / "other", np.concatenate([digits[-300:-3], 255 - digits[-3:]]))
    return run


def save(folder: Path, images: Images) -> None:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{i:03d}.png")


def test_exit_codes_tell_no_drift_from_drift_and_both_from_failure(
    run: Run, tmp_path: Path, digits: Images
) -> None:
    assert run("drift", "same")[0] == 0
    save(tmp_path / "same", CORRUPTIONS["blur"](digits[-300:], 2, generator(0, "blur")))
    code, out, _ = run("drift", "same", "--out", "out")
    assert code == 3 and out.startswith("drift: p = 0.002 ")
    found = json.loads((tmp_path / "out/drift.json").read_text())
    assert found["verdict"] == "drift" and found["n"] == 300 and found["features"]["p"] == 0.001
    assert run("drift", "nowhere")[0] == 1


def test_the_same_pictures_give_the_same_bytes_and_the_oddest_come_first(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "other/broken.png").write_text("hello")
    for out in ("one", "two"):
        code, output, err = run("drift", "other", "--out", out)
        assert "error: other/broken.png: no JPEG, PNG, WebP, TIFF, " in err
        assert code == 0  # three of 300 do not make a drift, but are shown
    for name in ("drift.json", "unusual.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    found = json.loads((tmp_path / "one/drift.json").read_text())
    assert {row["file"] for row in found["most_unusual"][:3]} == {
        f"other/{i}.png" for i in (297, 298, 299)
    }
    assert found["unreadable"] == 1 and sum(row["new"] for row in found["counts"].values()) == 300
    assert "energy coefficient" in output and Image.open(tmp_path / "one/unusual.png").size[0] > 400


def test_more_pictures_than_are_compared_are_drawn_from_alike(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> None:
    monkeypatch.setattr(drift, "MOST", 50)
    reference = drift.read_reference(tmp_path / "champion/model/reference.npz", model)
    files = [str(path) for path in sorted((tmp_path / "same").iterdir())]
    seen = drift.look(model, reference, files)
    every = model.features(np.stack([np.asarray(Image.open(file))[..., None] for file in files]))
    where = np.array([np.abs(every - row).sum(1).argmin() for row in seen.features])
    assert (
        len(seen.files) == len(seen.distances) == seen.counts.sum() == 300
        and len(seen.features) == 50
    )
    assert len(set(where)) == 50 and 110 < where.mean() < 190
    assert run("drift", "same")[0] == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "champion/model/reference.npz is missing"),
        ("damaged", "champion/model/reference.npz is damaged"),
        ("a pickle", "champion/model/reference.npz is damaged"),
        (
            "other classes",
            "it has features 50×32 and 3 classes, and the model gives 32 features",
        ),
        (
            "other features",
            "it has features 50×8 and 10 classes, and the model gives 32 features",
        ),
        ("infinite", "infinite features"),
        ("few", "1 picture can be read; drift needs 20 or more"),
        ("none", "few: no picture in this folder"),
        (
            "no model",
            "there is no champion, and artifacts/export/export.json names no model that was chosen",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(
    run: Run, tmp_path: Path, fault: str, message: str
) -> None:
    file = tmp_path / "champion/model/reference.npz"
    arrays = {
        "other classes": (np.zeros((50, 32), np.float32), np.ones(3, np.int64)),
        "other features": (np.zeros((50, 8), np.float32), np.ones(10, np.int64)),
        "infinite": (np.full((50, 32), np.inf, np.float32), np.ones(10, np.int64)),
        "a pickle": (np.array([{}]), np.ones(10, np.int64)),
    }
    if fault in arrays:
        np.savez(file, features=arrays[fault][0], counts=arrays[fault][1])
    if fault == "damaged":
        file.write_bytes(file.read_bytes()[:-50])
    if fault == "missing":
        file.unlink()
    if fault == "no model":
        (tmp_path / "champion/model/model.onnx").unlink()
        (tmp_path / "params.yaml").write_text("data: {name: digits}\n")
    save(tmp_path / "few", np.zeros((1 if fault == "few" else 0, 8, 8, 1), np.uint8))
    code, out, err = run("drift", "few" if fault in ("few", "none") else "same")
    assert code == 1 and out == "" and message in err and not (tmp_path / "artifacts").exists()
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1


def test_a_model_of_another_size_scales_the_pictures_but_needs_its_own_reference(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path / "other.onnx", noise(side=12))
    np.savez(
        tmp_path / "reference.npz",
        features=np.zeros((50, 32), np.float32),
        counts=np.ones(2, np.int64),
    )
    code, _, err = run("drift", "same", "--model", "other.onnx")
    assert code == 1 and "is of another model" in err
