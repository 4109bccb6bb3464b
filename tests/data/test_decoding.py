"""Files become pictures: whatever they are called, whatever made them, whatever is broken."""

import io
import itertools
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin
from sklearn.datasets import load_sample_images

from imagetrail.data import decoding, formats, limits
from imagetrail.data.decoding import Target, Unreadable, read
from imagetrail.data.limits import Room

SIZE = (40, 30)  # width, height
SHAPE = (30, 40, 3)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(load_sample_images().images[0]).resize(SIZE)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(content: bytes, shape: tuple[int, int, int] = SHAPE, **target: Any) -> np.ndarray:
    return read(io.BytesIO(content), Target(shape, **target))[0].astype(int)


def first(image: Image.Image, kind: str = "PNG", **options: Any) -> tuple[int, ...]:
    """The first pixel of a picture that is saved and read again."""
    content = saved(image, kind, **options)
    return tuple(pixels(content, (image.height, image.width, 3))[0, 0].tolist())


def refused(content: bytes, **target: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        read(io.BytesIO(content), Target(SHAPE, **target))
    return str(caught.value)


# ---- kinds of file ----


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("JPEG", "a.jfif"),
        ("PNG", "a.jpg"),
        ("WEBP", "a.webp"),
        ("TIFF", "a"),
        ("BMP", "a.gif"),
        ("AVIF", "a.png"),
        ("JPEG2000", "a.jp2"),
        ("MPO", "a.JPG"),
        ("GIF", "a.txt"),
    ],
)
def test_a_picture_is_what_its_content_says(
    photo: Image.Image, tmp_path: Path, kind: str, name: str
) -> None:
    options = {"MPO": {"save_all": True, "append_images": [photo.rotate(180)]}}.get(kind, {})
    (tmp_path / name).write_bytes(content := saved(photo, kind, **options))
    image, facts = read(tmp_path / name, Target(SHAPE))
    assert np.abs(image.astype(int) - np.asarray(photo)).mean() < 15
    assert (facts.format, facts.width, facts.height) == (kind, *SIZE)
    assert facts.bytes == len(content) and facts.mode == ("P" if kind == "GIF" else "RGB")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_are_refused_or_the_first_is_taken(photo: Image.Image, kind: str) -> None:
    content = saved(photo, kind, save_all=True, append_images=[ImageOps.invert(photo)])
    assert refused(content).endswith("with `frames: first` in params.yaml its first one is taken")
    assert np.abs(pixels(content, frames="first") - np.asarray(photo)).mean() < 15


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"hello", f"no {formats.NAMES} picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is taken where"),
        (b"8BPS\0\1", "Photoshop, which is not taken; save it as"),
        (b"<svg xmlns=''/>", "SVG, which is not taken"),
        (b"<!DOCTYPE html><p>log in", "web page, which is not taken"),
        (bytes(128) + b"DICM", "DICOM, which is not taken"),
        (b"\x89PNG\r\n\x1a\nxxxx", "damaged (PNG, but its header"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_picture_to_take_is_called_what_it_is(head: bytes, reason: str) -> None:
    assert refused(head).startswith(reason)


def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture(photo: Image.Image) -> None:
    assert "raw file" in refused(saved(photo, "TIFF", tiffinfo={ExifTags.Base.NewSubfileType: 1}))


HEIC = Path(__file__).with_name("grey.heic")


def test_a_heic_is_taken_if_its_reader_is_there_and_named_if_not() -> None:
    try:
        import pi_heif  # noqa: F401
    except ModuleNotFoundError:
        assert refused(HEIC.read_bytes()).startswith("HEIC, which is taken where the package pi-")
    else:
        assert np.abs(pixels(HEIC.read_bytes()) - 100).max() <= 3


# ---- colours and depths ----


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 32768, (128, 128, 128)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (0, 0), (255, 255, 255)),
    ],
)
def test_every_png_mode_becomes_8_bit_grey_or_rgb_on_white(
    mode: str, colour: Any, expected: tuple[int, ...]
) -> None:
    assert first(Image.new(mode, (9, 9), colour)) == expected


def test_a_transparent_palette_colour_is_laid_on_white() -> None:
    assert first(Image.new("P", (4, 4), 0), transparency=0) == (255, 255, 255)


def levels(bits: int) -> np.ndarray:
    """A ramp over the levels of so many bits."""
    return np.linspace(0, 2**bits - 1, 1200).round().reshape(30, 40)


RAMP = levels(8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_any_depth_fills_8_bits(bits: int, kind: str) -> None:
    content = saved(Image.fromarray(levels(bits).astype(np.uint16)), kind)
    assert np.abs(pixels(content, (30, 40, 1))[..., 0] - RAMP).max() <= 1


def test_files_of_one_camera_have_one_scale_where_the_bits_in_use_are_said() -> None:
    dark = saved(Image.fromarray((levels(12) / 8).astype(np.uint16)), "PNG")  # of 12 bits, too
    assert pixels(dark).max() == 127  # taken for 10 bits
    assert pixels(dark, bits=12).max() == 31
    assert pixels(dark, bits=8).max() == 255, "what is beyond is white"


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        (levels(8) / 255, True),
        (levels(8), True),
        (levels(16), True),
        (levels(8) - 1, False),
        (levels(8) * 1e6, False),
        (np.where(levels(8) > 99, np.nan, 1), False),
    ],
    ids=["fractions", "8 bits", "16 bits", "negative", "huge", "no numbers"],
)
def test_floats_are_taken_where_their_scale_is_plain(values: np.ndarray, taken: bool) -> None:
    content = saved(Image.fromarray(values.astype(np.float32)), "TIFF")
    if taken:
        assert np.abs(pixels(content)[..., 0] - RAMP).max() <= 1
    else:
        assert refused(content).startswith("values ")


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF")])
def test_inks_and_lab_look_as_the_photo_does(photo: Image.Image, mode: str, kind: str) -> None:
    lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = (
        ImageCms.profileToProfile(photo, *lab, outputMode="LAB")
        if mode == "LAB"
        else photo.convert(mode)
    )
    options = {"quality": 95} if kind == "JPEG" else {}
    assert np.abs(pixels(saved(image, kind, **options)) - np.asarray(photo)).mean() < 4


def swapped() -> bytes:
    """The profile of a device that shows red as green and green as red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[at[0] : at[0] + 4], profile[at[1] : at[1] + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_colour_profile_is_brought_to_srgb_and_a_broken_one_ignored(kind: str) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    for profile, brightest in ((swapped(), 1), (b"", 0), (b"broken", 0), (swapped()[:400], 0)):
        found = first(red, kind, icc_profile=profile)
        assert int(np.argmax(found)) == brightest and max(found) > 200, found
    grey = first(Image.new("L", (16, 16), 100), kind, icc_profile=swapped())
    assert np.abs(np.array(grey) - 100).max() <= 2, "a profile of other colours is ignored"


def test_a_picture_with_much_text_or_a_huge_profile_is_no_damage(photo: Image.Image) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "x" * 3_000_000, zip=True)
    text.add_itxt("b", "y" * 3_000_000, zip=True)
    late = PngImagePlugin.PngInfo()
    late.add(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)), after_idat=True)
    for info, profile in ((text, None), (late, None), (None, bytes(3_000_000))):
        content = saved(photo, "PNG", pnginfo=info, icc_profile=profile)
        assert np.array_equal(pixels(content), np.asarray(photo))


# ---- EXIF ----


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_photo_is_turned_upright_as_pillow_turns_it(
    photo: Image.Image, orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = saved(photo, kind, exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    found, facts = read(io.BytesIO(content), Target((upright.height, upright.width, 3)))
    assert np.array_equal(found, np.asarray(upright.convert("RGB")))
    assert (facts.width, facts.height) == upright.size


@pytest.mark.parametrize(
    "odd",
    [(0x11A, 2, 4, b"abc\0"), (0x100, 9, 1, b"\xfb\xff\xff\xff"), (0x100, 2, 4, b"xyz\0")],
    ids=["words for a resolution", "a negative width", "words for a width"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_odd_exif_tag_does_not_keep_a_photo_from_being_turned(
    kind: str, odd: tuple[int, int, int, bytes]
) -> None:
    tags = [struct.pack("<HHI4s", *tag) for tag in (odd, (0x112, 3, 1, b"\6\0\0\0"))]
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"".join(tags) + bytes(4)
    content = saved(Image.new("RGB", (20, 10)), kind, exif=exif)
    _, facts = read(io.BytesIO(content), Target((8, 8, 3)))
    assert (facts.width, facts.height) == (10, 20)


def test_the_camera_is_told_in_one_line() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Ada\0 \n", " One\x1b[2J"
    content = saved(Image.new("RGB", (20, 10)), "JPEG", exif=exif)
    assert read(io.BytesIO(content), Target((8, 8, 3)))[1].camera == "Ada One[2J"


# ---- size and shape ----


def halves(width: int, height: int) -> Image.Image:
    """White in the middle half of the longer side, black at both ends of it."""
    values = np.zeros((height, width), np.uint8)
    long = max(width, height)
    inner = slice(long // 4, long - long // 4)
    values[(slice(None), inner) if width > height else inner] = 255
    return Image.fromarray(values)


def test_crop_cuts_the_centre_pad_shows_all_and_stretch_fills() -> None:
    for wide in (halves(40, 20), halves(20, 40)):
        content = saved(wide, "PNG")
        assert (pixels(content, (20, 20, 1)) == 255).all()
        padded = pixels(content, (20, 20, 1), fit="pad")[..., 0]
        across = padded if wide.width > wide.height else padded.T
        assert not across[:5].any() and not across[15:].any() and not across[:, :4].any()
        assert (across[5:15, 7:13] == 255).all()
        stretched = pixels(content, (20, 20, 1), fit="stretch")[..., 0]
        across = stretched if wide.width > wide.height else stretched.T
        assert not across[:, :4].any() and (across[:, 7:13] == 255).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_shape_is_brought_to_every_shape(fit: str) -> None:
    sides = (1, 7, 300)
    for width, height, *sizes in itertools.product(sides, sides, (8, 31), (8, 512)):
        shape = (*sizes, 3)
        assert pixels(saved(Image.new("L", (width, height), 9), "BMP"), shape, fit=fit).max() == 9


def test_crop_is_as_pillow_fits() -> None:
    rng = np.random.default_rng(0)
    for width, height, into, down in rng.integers(1, 90, (60, 4)).tolist():
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        expected = ImageOps.fit(image, (into, down), Image.Resampling.BICUBIC)
        assert np.array_equal(decoding.fit(image, Target((down, into, 3))), np.asarray(expected))


@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(28, 28, 3), (64, 64, 1), (30, 90, 3), (90, 31, 3)])
def test_a_draft_of_a_jpeg_is_close_to_the_whole_picture_scaled_down(
    shape: tuple[int, int, int], fit: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = Image.fromarray(load_sample_images().images[1])
    content = saved(picture, "JPEG", quality=90, exif=exif)
    with Image.open(io.BytesIO(content)) as whole:
        upright = ImageOps.exif_transpose(whole)
    expected = decoding.fit(upright, Target(shape, fit))
    difference = np.abs(pixels(content, shape, fit=fit) - expected)
    assert 0 < difference.mean() < 1.5 and np.quantile(difference, 0.99) <= 10


def test_a_large_jpeg_is_never_decoded_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    monkeypatch.setattr(
        Room, "of", lambda self, count, of=Room.of: asked.append(count) or of(self, count)
    )
    picture = Image.new("RGB", (1600, 1200), "red")
    for options in ({}, {"progressive": True}):
        pixels(saved(picture, "JPEG", **options), (64, 64, 3))
    assert asked == [200 * 150, 1600 * 1200], "libjpeg holds all of a progressive one"


# ---- limits ----


@pytest.mark.parametrize("side", [10_001, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    def block(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = block(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    content = (
        b"\x89PNG\r\n\x1a\n" + header + block(b"IDAT", zlib.compress(b"")) + block(b"IEND", b"")
    )
    assert f"more than {limits.MAX_PIXELS:,}" in refused(content)


def test_a_file_of_too_many_bytes_is_refused_unopened(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(limits.MAX_BYTES + 1)  # sparse
    with pytest.raises(Unreadable, match="bytes are more than 536,870,912"):
        read(tmp_path / "a.png", Target(SHAPE))


def test_no_more_pixels_are_decoded_at_a_time_than_there_is_room_for() -> None:
    room, inside, most = Room(100), list[int](), list[int]()

    def work(count: int) -> None:
        for _ in range(20):
            with room.of(count):
                inside.append(count)
                most.append(sum(inside))
                time.sleep(0.0002)
                inside.remove(count)

    threads = [threading.Thread(target=work, args=[count]) for count in (100, 60, 30, 30, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) <= 100 and len(most) == 100 and room.free == 100


# ---- damage ----


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000"])
def test_a_picture_cut_off_is_unreadable_with_its_reason(photo: Image.Image, kind: str) -> None:
    content = saved(photo, kind)
    assert refused(content[: len(content) // 2]).startswith("damaged (")


def test_a_missing_file_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="^no such file or directory$"):
        read(tmp_path / "a.png", Target(SHAPE))


def exif() -> Image.Exif:
    made = Image.Exif()
    made[ExifTags.Base.Orientation], made[ExifTags.Base.XResolution] = 6, 72.0
    made[ExifTags.Base.Make] = "Ada"
    made.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.01
    made.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return made


def corpus(photo: Image.Image) -> dict[str, bytes]:
    """Pictures of all kinds, with EXIF and profile where the kind has them."""
    with_exif = {"exif": exif(), "icc_profile": swapped()}
    both = {"save_all": True, "append_images": [photo.rotate(90)]}
    deep = Image.fromarray((np.asarray(photo.convert("L")) * 257.0).astype(np.uint16))
    palette, bilevel = photo.convert("P"), photo.convert("1")
    made = {
        "JPEG": with_exif,
        "PNG": with_exif,
        "WEBP": with_exif,
        "TIFF": with_exif,
        "AVIF": with_exif,
        "MPO": with_exif | both,
        "GIF": both,
        "BMP": {},
        "JPEG2000": {},
    }
    files = {kind: saved(photo, kind, **options) for kind, options in made.items()}
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[compression] = saved(photo, "TIFF", compression=compression)
    return files | {
        "progressive": saved(photo, "JPEG", progressive=True),
        "inks": saved(photo.convert("CMYK"), "JPEG"),
        "fax": saved(bilevel, "TIFF", compression="group4"),
        "palette": saved(palette, "PNG", transparency=0),
        "few colours": saved(palette, "BMP"),
        "deep": saved(deep, "PNG"),
        "deep 2000": saved(deep, "JPEG2000", no_jp2=True),
        "alpha": saved(photo.convert("RGBA"), "PNG"),
        "moving": saved(photo, "WEBP", **both),
    }


Change = Callable[[bytearray, np.random.Generator], None]


def in_header(content: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, min(len(content), 200), rng.integers(1, 5)):
        content[at] = rng.integers(256)


def anywhere(content: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, len(content), rng.integers(1, 20)):
        content[at] = rng.integers(256)


def cut_off(content: bytearray, rng: np.random.Generator) -> None:
    del content[rng.integers(1, len(content)) :]


def taken_out(content: bytearray, rng: np.random.Generator) -> None:
    at = rng.integers(0, len(content))
    del content[at : at + rng.integers(1, 50)]


def put_in(content: bytearray, rng: np.random.Generator) -> None:
    at = rng.integers(0, len(content))
    content[at:at] = rng.bytes(rng.integers(1, 50))


def in_exif(content: bytearray, rng: np.random.Generator) -> None:
    begin = content.index(b"II*\0" if b"II*\0" in content else b"MM\0*")
    for at in rng.integers(begin, begin + len(exif().tobytes()) - 6, rng.integers(1, 4)):
        content[at] = rng.integers(256)
    if content[begin - 4 : begin] == b"eXIf":  # else Pillow would look no further than the checksum
        end = begin + int.from_bytes(content[begin - 8 : begin - 4])
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[begin - 4 : end]))


def mutated(
    files: dict[str, bytes], changes: tuple[Change, ...], count: int
) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(15)
    every = itertools.cycle(itertools.product(changes, files.items()))
    for change, (kind, content) in itertools.islice(every, count):
        changed = bytearray(content)
        change(changed, rng)
        yield kind, bytes(changed)


def outcomes(files: Iterator[tuple[str, bytes]]) -> tuple[int, int]:
    """How many were decoded and how many named in a line; nothing else may happen."""
    decoded, named = 0, list[str]()
    for number, (_, content) in enumerate(files):
        target = Target((16, 24, 3), frames="first" if number % 2 else "refuse")
        try:
            image, _ = read(io.BytesIO(content), target)
        except Unreadable as reason:
            named.append(str(reason))
        else:
            assert image.shape == target.shape and image.dtype == np.uint8
            decoded += 1
    assert all(reason.isprintable() and 5 < len(reason) < 200 for reason in named)
    return decoded, len(named)


@pytest.mark.filterwarnings("ignore")
def test_of_1000_mutated_pictures_of_all_kinds_each_is_decoded_or_named(photo: Image.Image) -> None:
    changes = (in_header, anywhere, cut_off, taken_out, put_in)
    decoded, named = outcomes(mutated(corpus(photo), changes, 1000))
    assert decoded > 200 and named > 500 and decoded + named == 1000


@pytest.mark.filterwarnings("ignore")
def test_of_4000_pictures_with_changed_exif_each_is_decoded_or_named(photo: Image.Image) -> None:
    files = {kind: corpus(photo)[kind] for kind in ("JPEG", "PNG", "MPO")}
    decoded, named = outcomes(mutated(files, (in_exif,), 4000))
    assert decoded > 3900 and decoded + named == 4000
