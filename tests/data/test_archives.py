import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from photos import ANIMALS, animals, as_bzip, as_gzip, as_tar, as_xz, as_zip, as_zstandard, photo

from imagetrail.base.errors import UserError
from imagetrail.base.words import printable
from imagetrail.data import archives, folders

PACKERS = [as_zip, as_tar, as_gzip, as_bzip, as_xz, as_zstandard]
Pack = Callable[[Path], Path]


def refusal(origin: Path, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        archives.unpack(origin, folder, "pets.zip")
    said = str(caught.value)
    assert said.startswith("pets.zip") and "\n" not in said and said.isprintable()
    return said


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_of_a_folder_is_the_same_data_set_as_the_folder(
    tmp_path: Path, pack: Pack
) -> None:
    top = animals(tmp_path / "pets")
    for name in (".ipynb_checkpoints/1.png", "cats/.2.png", "__MACOSX/cats/1.png"):
        photo(top / name)
    archives.unpack(pack(top), tmp_path / "raw", "pets.zip")
    found = folders.read(tmp_path / "raw", "pets.zip")
    assert found.sources == folders.read(top, "pets").sources == ANIMALS
    assert not list(tmp_path.glob("raw/**/.*"))


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_with_backslashes_has_folders(tmp_path: Path) -> None:
    content = photo(tmp_path / "1.png").read_bytes()
    names = {f"pets\\{kind}\\1.png": content for kind in ("cats", "dogs")}
    archives.unpack(zipped(tmp_path / "a.zip", **names), tmp_path / "raw", "pets.zip")
    assert folders.read(tmp_path / "raw", "pets").sources == ("cats/1.png", "dogs/1.png")


@pytest.mark.parametrize("encoding", ["cp437", "utf-8"])
def test_a_zip_says_names_in_utf8_with_or_without_the_mark_and_in_cp437(
    tmp_path: Path, encoding: str
) -> None:
    name = "ä/1.png".encode(encoding)
    path = zipped(tmp_path / "a.zip", **{"x" * len(name): b"1"})
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name))
    archives.unpack(path, tmp_path / "raw", "pets.zip")
    assert (tmp_path / "raw" / "ä" / "1.png").read_bytes() == b"1"


def tarred(path: Path, *members: tuple[str, bytes, str], content: bytes = b"") -> Path:
    """members: name, kind, what it links to."""
    with tarfile.open(path, "w") as archive:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../../out.png", "/srv/out.png", "..\\out.png", "C:\\out.png"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    said = refusal(zipped(tmp_path / "a.zip", **{name: b"1"}), tmp_path / "in" / "raw")
    assert "leads out of the archive" in said
    path = tarred(tmp_path / "a.tar", (name, tarfile.REGTYPE, ""))
    assert "leads out of the archive" in refusal(path, tmp_path / "in" / "raw")
    assert not list(tmp_path.rglob("out.png"))


@pytest.mark.parametrize(
    ("kind", "link", "reason"),
    [
        (tarfile.SYMTYPE, "cats", "dogs is a link; put the file itself into the archive"),
        (tarfile.FIFOTYPE, "", "dogs is no file"),
        (tarfile.LNKTYPE, "../secret", "../secret leads out of the archive"),
        (tarfile.LNKTYPE, "cats/9.png", "dogs is a copy of cats/9.png, which is not in it"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, link: str, reason: str) -> None:
    assert reason in refusal(tarred(tmp_path / "a.tar", ("dogs", kind, link)), tmp_path / "raw")


def test_a_zipped_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cats/1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "cats/1.png is a link" in refusal(tmp_path / "a.zip", tmp_path / "raw")


def test_tars_note_of_the_same_file_twice_is_a_file(tmp_path: Path) -> None:
    members = [("cats/1.png", tarfile.REGTYPE, ""), ("dogs/1.png", tarfile.LNKTYPE, "cats/1.png")]
    path = tarred(tmp_path / "a.tar", *members, content=b"picture")
    archives.unpack(path, tmp_path / "raw", "pets.tar")
    assert (tmp_path / "raw/dogs/1.png").read_bytes() == b"picture"


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", **{"cats/1.png": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    assert "cats/1.png is encrypted" in refusal(path, tmp_path / "raw")


@pytest.mark.parametrize("bound", ["SMALL", "free"])
def test_a_bomb_is_stopped_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    if bound == "SMALL":
        monkeypatch.setattr(archives, "SMALL", 1 << 20)
    else:
        usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"cats/{number}.bmp", bytes(1 << 19))
    said = refusal(tmp_path / "a.zip", tmp_path / "raw")
    assert ("200 times its size" if bound == "SMALL" else "that are free here") in said
    assert sum(path.stat().st_size for path in (tmp_path / "raw").rglob("*.bmp")) <= 1 << 20


def flip(content: bytearray) -> bytearray:
    content[len(content) // 2] ^= 0xFF
    return content


def cut(content: bytearray) -> bytearray:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("pack", "damage"),
    [
        *((pack, cut) for pack in PACKERS),
        *((pack, flip) for pack in (as_zip, as_gzip, as_bzip, as_xz)),  # those with a checksum
    ],
)
def test_a_damaged_archive_is_one_line(
    tmp_path: Path, pack: Pack, damage: Callable[[bytearray], bytearray]
) -> None:
    top = animals(tmp_path / "pets")
    (top / "cats" / "noise.png").write_bytes(np.random.default_rng(0).bytes(100_000))
    path = pack(top)
    path.write_bytes(damage(bytearray(path.read_bytes())))
    said = refusal(path, tmp_path / "raw")
    assert "cannot be unpacked" in said or "is no archive that can be read" in said


@pytest.mark.parametrize("pack", [as_gzip, as_bzip, as_xz, as_zstandard])
def test_an_archive_cut_anywhere_is_one_line(tmp_path: Path, pack: Pack) -> None:
    whole = pack(animals(tmp_path / "pets")).read_bytes()
    for size in np.linspace(0, len(whole) - 1, 60, dtype=int):
        (tmp_path / "cut.tar.gz").write_bytes(whole[:size])
        said = refusal(tmp_path / "cut.tar.gz", tmp_path / f"raw{size}")
        assert "cannot be unpacked" in said or "is no archive that can be read" in said


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_with_any_bytes_changed_is_unpacked_or_one_line(
    tmp_path: Path, pack: Pack
) -> None:
    path, rng = pack(animals(tmp_path / "pets")), np.random.default_rng(0)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for number in range(100):
        changed = whole.copy()
        changed[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        said = ""
        try:
            archives.unpack(path, tmp_path / f"raw{number}", "pets.zip")
        except UserError as error:
            said = str(error)
        assert said.isprintable()


@pytest.mark.parametrize("content", [b"", b"text", b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c"])
def test_what_is_no_archive_is_told_the_kinds_there_are(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    said = refusal(tmp_path / "a.zip", tmp_path / "raw")
    assert "is no archive that can be read; it must be zip, tar, tar.gz" in said


def test_a_zip_whose_name_is_not_the_utf8_that_it_says_is_one_line(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", **{"é.png": b"1"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    assert "cannot be unpacked ('utf-8' codec can't decode" in refusal(path, tmp_path / "raw")


def test_a_name_that_is_not_utf8_is_refused_escaped(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", ("caf\udce9.png", tarfile.REGTYPE, ""))
    assert "caf\\xe9.png: the name is not UTF-8" in refusal(path, tmp_path / "raw")


@pytest.mark.parametrize(
    "names",
    [
        ("cats\\1.png", "cats/1.png"),
        ("cats/1.png", "./cats/1.png"),
        ("cats/1.png", "cats/1.png"),
        ("cats", "cats/1.png"),
        ("cats", "cats/more/1.png"),
        ("cats/1.png", "cats"),
    ],
)
def test_members_that_would_be_one_file_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    members = [(name, tarfile.REGTYPE, "") for name in names]
    path = tarred(tmp_path / "a.tar", *members, content=b"picture")
    assert f"{printable(names[1])} is in the archive twice" in refusal(path, tmp_path / "raw")
