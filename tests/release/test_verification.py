"""Damage that DVC overlooks is found, one line each, and the line's advice heals it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workshop import Workshop

from imagetrail.base import hashing
from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION_MODEL, CHAMPION_POINTER, LEDGER
from imagetrail.release import git_dvc, promotion, verification

Damage = Callable[[Path], None]


def verify(root: Path) -> list[str]:
    return [str(finding) for finding in verification.verify(root, root / ".dvc/cache")]


def keeping_times(path: Path, content: bytes) -> None:
    """Writes a file so that its times and its mode say that nothing has happened."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def changed(content: bytes, place: int = -1) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1
    return bytes(damaged)


def flipped(path: Path, place: int = -1) -> None:
    keeping_times(path, changed(path.read_bytes(), place))


@pytest.fixture(scope="module")
def promoted(workshop_once: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A repository with an earlier champion, a champion and a new challenger."""
    made = workshop_once.copy(tmp_path_factory.mktemp("promoted") / "repo")
    promotion.promote(made.root)
    made.train(2)
    promotion.promote(made.root)
    made.train(3, "HOLD")
    made.commit()
    return made


@pytest.fixture
def copy(promoted: Workshop, tmp_path: Path) -> Workshop:
    made = promoted.copy(tmp_path / "repo")
    made.dvc("checkout", "--quiet")  # so that DVC knows this copy's files
    return made


def test_two_hundred_flips_and_truncations_are_two_hundred_findings(
    promoted: Workshop, record_property: Callable[[str, object], None]
) -> None:
    root, rng, missed = promoted.root, np.random.default_rng(0), list[Path]()
    assert verify(root) == []
    places = ("data", "artifacts", "champion/model", ".dvc/cache/files")
    files = sorted(
        file
        for place in places
        for file in (root / place).rglob("*")
        if file.is_file() and file.stat().st_size
    )
    files = [file for file in files if file.name != ".gitignore"]  # git's, and no result
    for number in range(200):
        file = files[number % len(files)]
        content = file.read_bytes()
        if number % 2:
            flipped(file, int(rng.integers(len(content))))
        else:
            keeping_times(file, content[: rng.integers(len(content))])
        found = verify(root)
        missed += [] if any(name_of(root, file) in line for line in found) else [file]
        keeping_times(file, content)
    record_property(
        "verify", f"{200 - len(missed)} of 200 flips and truncations in {len(files)} files found"
    )
    assert not missed and verify(root) == [] and len(files) > 30


def test_an_entry_of_the_run_cache_with_other_content_is_found(promoted: Workshop) -> None:
    rng = np.random.default_rng(0)
    for file in sorted((promoted.root / ".dvc/cache/runs").glob("*/*/*")):
        content = file.read_bytes()
        cut = [content[:place] for place in rng.integers(len(content) - 1, size=5)]
        flips = [changed(content, int(place)) for place in rng.integers(len(content), size=5)]
        for damaged in cut + flips:
            keeping_times(file, damaged)
            if without_sizes(damaged) != without_sizes(content):
                (line,) = verify(promoted.root)
                assert f"{name_of(promoted.root, file)} is no run that DVC has noted" in line
        keeping_times(file, content)


def without_sizes(entry: bytes) -> bytes:
    """DVC restores by the hashes of an entry; its sizes are not even part of the entry's name."""
    return re.sub(rb"\n  (size|nfiles):.*", b"", entry).strip()


def test_an_entry_of_the_run_cache_that_lost_an_out_blocks_dvc_until_healed(copy: Workshop) -> None:
    given = copy.root / "given/export/model.onnx"
    earlier = (copy.root / CHAMPION_MODEL).read_bytes()
    (entry,) = [
        file
        for file in (copy.root / ".dvc/cache/runs").glob("*/*/*")
        if "given/export" in (text := file.read_text()) and hashlib.md5(earlier).hexdigest() in text
    ]
    text = entry.read_text()
    keeping_times(entry, text[: text.index("- path: artifacts/export/model.onnx")].encode())
    given.write_bytes(earlier)
    assert "model.onnx' does not exist" in copy.dvc("repro", "export", ok=False)
    heal(copy, next(line for line in verify(copy.root) if name_of(copy.root, entry) in line))
    copy.dvc("repro", "export")
    assert (copy.root / "artifacts/export/model.onnx").read_bytes() == earlier


def name_of(root: Path, file: Path) -> str:
    """What a line about this file has in it."""
    parts = file.relative_to(root).parts
    return (
        "/".join(parts[:3])
        if parts[0] == "data"
        else "/".join(parts[:2])
        if parts[0] == "champion"
        else "/".join(parts)
    )


def heal(workshop: Workshop, line: str) -> None:
    """Does what a finding says."""
    command = line.rsplit("; run ", 1)[1]
    for words in re.findall("`([^`]+)`", command.split(" or, without")[0].split("` or `")[0] + "`"):
        shell = words.replace("dvc ", f"{sys.executable} -m dvc ").replace(
            "imagetrail ", f"{sys.executable} -m imagetrail.cli "
        )
        workshop.run("sh", "-c", shell)


def test_what_dvc_itself_misses_is_found_and_healed(copy: Workshop) -> None:
    for path in ("data/split/train/images.npy", "artifacts/export/model.onnx"):
        flipped(copy.root / path)
        assert "up to date" in copy.dvc("status")
        (line,) = verify(copy.root)
        assert line.startswith(path.removesuffix("/images.npy")) and "is not what dvc.lock" in line
        if path.startswith("data"):
            assert ": images.npy;" in line
        heal(copy, line)
        assert verify(copy.root) == []


def test_a_damaged_model_of_the_champion_is_healed(copy: Workshop) -> None:
    flipped(copy.root / CHAMPION_MODEL)
    lines = verify(copy.root)
    assert "champion/model is not what champion/model.dvc says: model.onnx" in lines[0]
    heal(copy, lines[0])
    assert verify(copy.root) == []


@pytest.mark.parametrize("path", ["data/split/train", "artifacts/export/model.onnx"])
def test_a_damaged_cache_is_healed_from_what_is_on_disk(copy: Workshop, path: str) -> None:
    (out,) = [out for out in verification.locked(copy.root) if out.path == path]
    for md5 in [out.md5, *verification.listing(copy.root / ".dvc/cache", out.md5).values()]:
        flipped(git_dvc.cached(copy.root / ".dvc/cache", md5))
        lines = verify(copy.root)
        assert "in DVC's cache holds something else than its name says" in lines[0]
        heal(copy, lines[0])
        assert verify(copy.root) == []


def test_content_that_is_damaged_everywhere_is_fetched_or_made_again(
    copy: Workshop, tmp_path: Path
) -> None:
    copy.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    copy.dvc("push", "--quiet")
    (out,) = [
        out for out in verification.locked(copy.root) if out.path == "artifacts/export/model.onnx"
    ]
    held = git_dvc.cached(copy.root / ".dvc/cache", out.md5)
    for again in ("fetch", "repro"):
        flipped(copy.root / out.path)
        flipped(held)
        found = {line.split(" ")[0]: line for line in verify(copy.root)}
        assert (
            "`dvc fetch artifacts/export/model.onnx` or, without a remote, `dvc repro --force"
            in found[name_of(copy.root, held)]
        )
        if again == "fetch":
            heal(copy, found[name_of(copy.root, held)])
            heal(copy, found[out.path])
        else:
            held.unlink()
            copy.dvc("repro", "--force", "--single-item", "export")
        assert verify(copy.root) == []


def test_what_is_missing_is_reported_with_the_command_that_brings_it(copy: Workshop) -> None:
    (copy.root / "artifacts/export/model.onnx").unlink()
    shutil.rmtree(copy.root / "data/split/test")
    assert verify(copy.root) == [
        "data/split/test is missing, which dvc.lock (stage split) names; "
        "run `dvc checkout data/split/test`",
        "artifacts/export/model.onnx is missing, which dvc.lock (stage export) names; "
        "run `dvc checkout artifacts/export/model.onnx`",
    ]
    for line in verify(copy.root):
        heal(copy, line)
    assert verify(copy.root) == []


def test_a_champion_that_is_not_the_ledgers_is_reported_and_healed(copy: Workshop) -> None:
    first = copy.root / CHAMPION_POINTER
    present = first.read_text()
    promotion.rollback(copy.root)
    earlier = first.read_text()
    promotion.rollback(copy.root, 2)
    first.write_text(earlier)
    lines = verify(copy.root)
    (line,) = [line for line in lines if "of the ledger's line" in line]
    heal(copy, line)
    assert verify(copy.root) == [] and first.read_text() == present
    (copy.root / LEDGER).write_text((copy.root / LEDGER).read_text().replace("Ada", "Eve", 1))
    (line,) = verify(copy.root)
    assert "the ledger was edited; bring it back with `git checkout" in line


def test_a_folder_has_the_hash_that_dvc_gives_it(tmp_path: Path) -> None:
    for name in ("b/ä ö.txt", "b.txt", "b/a", "a"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(name)
    code = (
        "import sys; from dvc.repo import Repo; from dvc_data.hashfile.build import build;"
        "repo = Repo.init(no_scm=True); odb = repo.cache.local;"
        "print(build(odb, sys.argv[1], odb.fs, 'md5')[2].hash_info.value)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "folder")]
    printed = subprocess.check_output(command, cwd=tmp_path, text=True)
    assert hashing.md5(tmp_path / "folder") == printed.split()[-1]


def test_a_damaged_lock_file_is_one_line(copy: Workshop) -> None:
    lock = copy.root / "dvc.lock"
    kept = lock.read_text()
    for text, words in (
        (kept.replace("md5: ", "md6: "), "it does not say what stages made"),
        (
            kept.replace("artifacts/export/model.onnx", "artifacts/export/nodel.onnx"),
            "dvc.lock says nothing of artifacts/export/model.onnx",
        ),
    ):
        lock.write_text(text)
        try:
            lines = verify(copy.root)
        except UserError as error:
            lines = [str(error)]
        assert any(words in line for line in lines)


@pytest.mark.slow
def test_a_second_clone_makes_the_same_or_reports_what_differs(copy: Workshop) -> None:
    promotion.promote(copy.root, reason="to have a pointer")
    copy.dvc("repro", "--quiet")
    copy.commit()
    output = copy.imagetrail("verify", "--reproduce")
    assert "12 results are the same" in output and output.count("Running stage") == 5
    gate = copy.root / "gate.py"
    gate.write_text(
        gate.read_text().replace('"so it is"', "__import__('time').time_ns() % 10**6 / 10**6")
    )
    copy.dvc("repro", "--quiet", "--force", "gate")
    copy.commit()
    assert (
        copy.imagetrail("verify", "--reproduce", ok=False).splitlines()[-1]
        == "artifacts/gate/decision.json has other bytes"
    )
    assert "same within 1" in copy.imagetrail("verify", "--reproduce", "--tolerance", "1")
    output = copy.imagetrail("verify", "--reproduce", "--tolerance", "1e-9", ok=False)
    assert "artifacts/gate/decision.json differs by 0." in output
    assert sorted(path.name for path in copy.root.parent.iterdir()) == ["repo"]


def test_the_command_says_yes_or_no(copy: Workshop) -> None:
    assert "every byte" in copy.imagetrail("verify")
    flipped(copy.root / "data/split/valid/index.parquet")
    (line,) = copy.imagetrail("verify", ok=False).splitlines()
    assert line.startswith(
        "data/split/valid is not what dvc.lock (stage split) says: index.parquet; run"
    )
