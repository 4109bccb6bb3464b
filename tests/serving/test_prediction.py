"""`imagetrail predict`: any picture is answered as the model answers, or refused in a line."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import noise, write

from imagetrail.base.errors import UserError
from imagetrail.data import decoding, pictures
from imagetrail.data.decoding import Target
from imagetrail.serving import inputs, occlusion, onnx_model

CLASSES = ("cat", "dog", "emu")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def exported(tmp_path: Path) -> onnx_model.Model:
    """A model that export chose among two."""
    folder = tmp_path / "artifacts/export"
    chosen = write(folder / "model.int8.onnx", noise(CLASSES))
    facts = [{"file": "model.onnx", "chosen": False}, {"file": chosen.name, "chosen": True}]
    (folder / "export.json").write_text(json.dumps(facts))
    return onnx_model.load(chosen)


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8), np.uint8)


def save(path: Path, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(seed)).save(path, "PNG")
    return draw(seed)[None, ..., None]


def test_answers_are_the_models_own_and_names_are_exact(
    run: Run, exported: onnx_model.Model, tmp_path: Path
) -> None:
    names = [
        "pics/a b.png",
        'pics/deep/er/c,"d".PNG',
        "pics/no suffix",
        "pics/new\nline\r.png",
        os.fsdecode(b"pics/\xff.png"),
        "z.png",
    ]
    expected = {name: exported.predict(save(tmp_path / name, i))[0] for i, name in enumerate(names)}
    (tmp_path / "pics/notes.txt").write_text("no picture, and not meant as one")
    for hidden in (
        ".hidden.png",
        ".ipynb_checkpoints/a.png",
        "deep/__MACOSX/a.png",
        "@eaDir/a.png",
        "$RECYCLE.BIN/a.png",
    ):
        save(tmp_path / "pics" / hidden)

    code, out, err = run("predict", "z.png", "pics", "--format", "json", "--top", "9")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["file"] for row in rows] == ["z.png", *sorted(names[:-1])]
    assert "model: artifacts/export/model.int8.onnx" in err and "error" not in err
    for row in rows:
        order = np.argsort(-expected[row["file"]])
        assert [one["class"] for one in row["top"]] == [CLASSES[k] for k in order] and row[
            "class"
        ] == row["top"][0]["class"]
        assert [one["probability"] for one in row["top"]] == pytest.approx(
            expected[row["file"]][order], abs=1e-6
        )

    _, out, _ = run("predict", "z.png", "pics", "--format", "csv", "--top", "2")
    table = list(csv.DictReader(io.StringIO(out, newline="")))
    assert list(table[0]) == ["file", "class", "probability", "unsure", "class_2", "probability_2"]
    assert [row["class"] for row in table] == [row["class"] for row in rows]
    assert {row["file"] for row in table} >= set(names) - {names[4]}  # which is below

    _, out, _ = run("predict", "z.png", "pics")
    assert (
        len(out.splitlines()) == len(names) and "pics/new\\nline\\r.png" in out
    )  # a table's line is a line


@pytest.mark.usefixtures("exported")
def test_a_name_that_is_not_utf8_leaves_as_the_bytes_it_came_as(tmp_path: Path) -> None:
    save(tmp_path / os.fsdecode(b"\xff.png"))
    command = [sys.executable, "-m", "imagetrail.cli", "predict", b"\xff.png", "--format", "csv"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "utf-8"}
    )
    assert done.returncode == 0 and done.stdout.splitlines()[1].startswith(b"\xff.png,")


def test_below_the_threshold_the_answer_is_unsure(
    run: Run, exported: onnx_model.Model, tmp_path: Path
) -> None:
    best = [float(exported.predict(save(tmp_path / f"{i}.png", i)).max()) for i in range(6)]
    bound = sorted(best)[3]
    _, out, _ = run(
        "predict", *[f"{i}.png" for i in range(6)], "--format", "json", "--unsure", str(bound)
    )
    assert [json.loads(line)["unsure"] for line in out.splitlines()] == [p < bound for p in best]
    _, out, _ = run("predict", *[f"{i}.png" for i in range(6)], "--unsure", str(bound))
    assert [" unsure: " in line for line in out.splitlines()] == [p < bound for p in best]


def test_a_picture_comes_through_stdin(
    run: Run, exported: onnx_model.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = save(tmp_path / "a.png", 3)
    for content, expected in (((tmp_path / "a.png").read_bytes(), 0), (b"", 1), (b"hello", 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code, out, err = run("predict", "-", "--format", "json", "--explain", "why")
        assert code == expected and ("error: -: " in err) == bool(expected)
        if not expected:
            row = json.loads(out)
            assert row["file"] == "-" and row["probability"] == pytest.approx(
                exported.predict(image).max(), abs=1e-6
            )
            assert Image.open(tmp_path / row["explanation"]).size[0] > 400
            assert "was not tried" in err


def test_no_map_is_drawn_that_failed_its_test(
    run: Run, exported: onnx_model.Model, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", 3)
    scores = {"pictures": 9, "methods": {"occlusion": {"passed": False}}}
    (tmp_path / "artifacts/export/scores.json").write_text(json.dumps(scores))
    code, out, err = run("predict", "a.png", "--format", "json", "--explain", "why")
    assert code == 0 and "explanation" not in json.loads(out) and "failed their test" in err
    assert not (tmp_path / "why").exists() and exported.classes


@pytest.mark.usefixtures("exported")
def test_more_than_a_picture_on_stdin_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(1001))))
    code, out, err = run("predict", "-")
    assert (code, out) == (1, "") and "error: -: more than 1,000 bytes" in err


def bad(folder: Path) -> dict[str, str]:
    """Files that are no picture to take, and what is wrong with each."""
    save(folder / "whole.png")
    frames = [Image.fromarray(draw(i)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "other.ppm")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    Image.new("1", (9_900, 9_900)).resize((10_001, 10_000)).save(folder / "large.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:60])
    (folder / "empty.jpg").touch()
    (folder / "text.jpeg").write_text("hello")
    return {
        "moving.gif": "a moving GIF; with `frames: first`",
        "moving.png": "a moving PNG; with `frames: first`",
        "other.ppm": "Netpbm, which is not taken; save it as JPEG",
        "huge.png": "more than 100,000,000",
        "large.png": "10001×10000 pixels are more than 100,000,000",
        "cut.png": "damaged (",
        "empty.jpg": "the file is empty",
        "text.jpeg": "no JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or JPEG 2000 picture",
    }


@pytest.mark.usefixtures("exported")
def test_what_is_no_picture_to_take_is_named_in_a_line_and_the_others_are_answered(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    reasons = {f"in/{name}": reason for name, reason in bad(tmp_path / "in").items()}
    reasons["gone.png"] = "no such file"
    os.mkfifo(tmp_path / "pipe.png")
    code, out, err = run("predict", "in", "gone.png", "pipe.png", "--format", "json")
    errors = [line for line in err.splitlines() if not line.startswith("model: ")]
    assert code == 1 and [json.loads(line)["file"] for line in out.splitlines()] == ["in/whole.png"]
    assert len(errors) == len(reasons) + 1 and "error: pipe.png: not a file" in errors
    for name, reason in reasons.items():
        assert sum(line.startswith(f"error: {name}: {reason}") for line in errors) == 1, (
            name,
            errors,
        )


def test_unusual_kinds_of_pictures_are_seen_as_they_look(
    run: Run, exported: onnx_model.Model, tmp_path: Path
) -> None:
    grey = np.full((8, 8), 100, np.uint8)
    save_as = {
        "grey.png": Image.fromarray(grey),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "colour.png": Image.fromarray(np.repeat(grey[..., None], 3, 2)),
        "clear.png": Image.merge("LA", [Image.fromarray(grey), Image.new("L", (8, 8), 255)]),
        "palette.png": Image.fromarray(grey).convert("P"),
        "print.jpg": Image.fromarray(np.repeat(grey[..., None], 3, 2)).convert("CMYK"),
    }
    for name in ("web.webp", "scan.tif", "old.bmp", "still.gif", "new.avif", "film.jp2"):
        save_as[name] = Image.fromarray(grey)
    for name, image in save_as.items():
        image.save(tmp_path / name)
    stereo = [Image.fromarray(np.repeat(grey[..., None], 3, 2)) for _ in range(2)]
    stereo[0].save(
        tmp_path / "phone.jpg", "MPO", save_all=True, append_images=stereo[1:]
    )  # a JPEG, says its owner
    code, out, err = run("predict", ".", "--format", "json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 13 and "error" not in err
    expected = float(exported.predict(grey[None, ..., None]).max())
    assert [row["probability"] for row in rows] == pytest.approx([expected] * 13, abs=0.01)


def test_pictures_are_prepared_as_the_models_training_had_them(run: Run, tmp_path: Path) -> None:
    wide = Image.fromarray(draw(0, 8, 16))
    wide.save(tmp_path / "wide.gif", save_all=True, append_images=[Image.fromarray(draw(1, 8, 16))])
    asked = []
    for fit in ("crop", "pad", "stretch"):
        made = noise(CLASSES, fit=fit, frames="first", bits="12")
        model = onnx_model.load(write(tmp_path / "model.onnx", made))
        target = Target((8, 8, 1), fit, "first", 12)
        assert inputs.target_of(model) == target
        with Image.open(tmp_path / "wide.gif") as image:
            expected = model.predict(decoding.fit(image.convert("L"), target)[None]).max()
        code, out, _ = run("predict", "wide.gif", "--format", "json", "--model", "model.onnx")
        assert code == 0 and json.loads(out)["probability"] == pytest.approx(expected, abs=1e-6)
        asked.append(round(float(expected), 6))
    assert len(set(asked)) == 3
    write(tmp_path / "model.onnx", noise(CLASSES, fit="squeeze"))
    code, _, err = run("predict", "wide.gif", "--model", "model.onnx")
    assert code == 1 and "the model is refused: its metadata.fit: input should be 'crop'" in err


@pytest.mark.usefixtures("exported")
def test_what_pillow_warns_of_stays_off_the_terminal(tmp_path: Path) -> None:
    Image.new("1", (9_900, 9_900)).save(tmp_path / "large.png")
    command = [sys.executable, "-m", "imagetrail.cli", "predict", "large.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("model: ")


@pytest.mark.usefixtures("exported")
def test_nothing_in_a_folder_is_passed_over_in_silence(run: Run, tmp_path: Path) -> None:
    for name in ("in/deep/a.png", "in/.hidden/b.png", "there/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / name)
    (tmp_path / "in" / "gone.png").symlink_to("nowhere.png")
    code, out, err = run("predict", "in", "--format", "json")
    assert code == 1 and "error: in/gone.png: no such file" in err
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["in/deep/a.png"]
    (tmp_path / "in" / "deep" / "more").symlink_to(tmp_path / "there")
    fault = "error: in/deep/more is a linked folder; put the folder itself there\n"
    assert run("predict", "in") == (1, "", fault)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is locked for root")
def test_a_locked_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "in" / "locked").mkdir(parents=True, mode=0)
    try:
        with pytest.raises(UserError, match=r"in/locked: cannot be listed \(permission denied\)"):
            inputs.find([str(tmp_path / "in")])
    finally:
        (tmp_path / "in" / "locked").chmod(0o700)


@pytest.mark.usefixtures("exported")
def test_a_folder_without_pictures_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty/deep").mkdir(parents=True)
    (tmp_path / "empty/deep/a.txt").touch()
    code, out, err = run("predict", "empty")
    assert (
        (code, out) == (1, "")
        and err.startswith("error: empty: no picture in this folder")
        and err.count("\n") == 1
    )


@pytest.mark.usefixtures("exported")
def test_the_champion_is_asked_before_what_export_chose(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion/model.dvc").touch()
    code, _, err = run("predict", "a.png")
    assert code == 1
    assert "error: champion/model is not here, which champion/model.dvc names; run `dvc pull" in err
    champion = onnx_model.load(write(tmp_path / "champion/model/model.onnx", noise(("ant", "bee"))))
    code, out, err = run("predict", "a.png", "--format", "json")
    assert code == 0 and json.loads(out)["class"] in ("ant", "bee")
    assert f"model: champion/model/model.onnx ({champion.sha256[:12]})" in err
    _, out, _ = run(
        "predict", "a.png", "--format", "json", "--model", "artifacts/export/model.int8.onnx"
    )
    assert json.loads(out)["class"] in CLASSES


@pytest.mark.parametrize(
    "facts", [None, [], [{"file": "model.onnx", "chosen": True}], [{"file": "model.onnx"}]]
)
def test_without_a_model_one_line_says_what_to_run(run: Run, tmp_path: Path, facts: object) -> None:
    save(tmp_path / "a.png")
    assert "run imagetrail in the folder that has params.yaml" in run("predict", "a.png")[2]
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    if facts is not None:
        (tmp_path / "artifacts/export").mkdir(parents=True)
        (tmp_path / "artifacts/export/export.json").write_text(json.dumps(facts))
    code, _, err = run("predict", "a.png")
    assert (
        code == 1 and err.count("\n") == 1 and err.startswith("error: ") and "run `dvc repro" in err
    )


def test_files_are_read_no_further_ahead_than_memory_allows() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return -number

    results = pictures.on_all_cores(work, range(100), ahead=5)
    assert next(results) == 0 and len(begun) <= 5
    assert list(results) == [-number for number in range(1, 100)]
    few, many = (pictures.ahead(Target((side, side, 3))) for side in (512, 28))
    assert few * 512 * 512 * 3 <= pictures.WAITING and many == pictures.AHEAD


@pytest.mark.slow
@pytest.mark.usefixtures("exported")
def test_the_largest_pictures_are_answered_in_the_memory_of_one(tmp_path: Path) -> None:
    Image.new("RGBA", (9_990, 9_990), (200, 0, 0, 99)).save(tmp_path / "0.png", compress_level=1)
    for number in range(1, 6):
        os.link(tmp_path / "0.png", tmp_path / f"{number}.png")
    code = (
        "import resource, sys; from imagetrail.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    names = [f"{number}.png" for number in range(6)]
    command = [sys.executable, "-c", code, "predict", *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    *answers, kilobytes = done.stdout.splitlines()
    assert len(answers) == 6 and int(kilobytes) < 2e6  # one takes 0.8 GB, all at once 5


def test_batches_keep_the_order_and_part_the_readable_from_the_rest(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{i}.png") for i in range(10)]
    for i in range(10):
        if i % 4:
            save(Path(files[i]), i)
    found = list(inputs.batches(files, Target((8, 8, 1)), size=3))
    assert [name for batch in found for name in batch.files] == [
        name for i, name in enumerate(files) if i % 4
    ]
    assert [name for batch in found for name, _ in batch.faults] == [
        name for i, name in enumerate(files) if not i % 4
    ]
    drawn = np.concatenate([batch.images for batch in found])
    assert np.array_equal(drawn[..., 0], [draw(i) for i in range(10) if i % 4])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_explanation_shows_the_only_place_that_the_model_looks_at(channels: int) -> None:
    image = draw(0, 20, 20, channels)

    def predict(images: np.ndarray) -> np.ndarray:
        """Sure of class 1 as long as a corner is as it is in the picture."""
        change = np.abs(images[:, :6, 14:].astype(float) - image[:6, 14:]).mean((1, 2, 3))
        return np.stack([change, 255 - change], 1) / 255

    heat = occlusion.sensitivity(predict, image, 1)
    top = heat.max()  # of the probability, which blurring can take away but a part of
    assert heat.shape == (20, 20) and 0.05 < top < 1 and heat.min() == 0
    elsewhere = heat[8:].mean(), heat[:, :10].mean()
    assert heat[:6, 14:].mean() > 0.4 * top and max(elsewhere) < 0.02 * top
    assert occlusion.sensitivity(predict, image, 0).max() == 0  # nothing speaks for the other class
    mirrored = occlusion.sensitivity(lambda images: predict(images[:, :, ::-1]), image[:, ::-1], 1)
    assert mirrored[:, ::-1] == pytest.approx(heat, abs=0.05)
    plain = np.full((20, 20, channels), 200, np.uint8)
    brightness = occlusion.sensitivity(
        lambda images: images.mean((1, 2, 3))[:, None] / 255, plain, 0
    )
    assert not brightness.any()  # where nothing is, nothing is taken away


def test_neither_torch_nor_mlflow_is_loaded_to_predict_or_to_tell_drift() -> None:
    loaded = (
        "import sys, imagetrail.cli.main, imagetrail.serving.prediction, imagetrail.serving.drift"
    )
    code = f"{loaded}; sys.exit(bool({{'torch', 'mlflow'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
