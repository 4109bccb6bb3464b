"""Every finding is made where its fault is planted, and hardly any where there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tiles
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tiles import jpeg, pictures_of

from imagetrail.data.decoding import Target
from imagetrail.data.pictures import Pictures
from imagetrail.stages.inspect import findings, inspection, near_duplicates, schema
from imagetrail.stages.inspect.findings import FINDINGS, Finding
from imagetrail.stages.inspect.params import Inspect
from imagetrail.stages.inspect.schema import Schema
from imagetrail.stages.inspect.seen import Seen

IMAGES = tiles.tiles()
LABELS = np.random.default_rng(0).permutation(len(IMAGES)) % 2
SPLITS = ["test" if i % 4 == 0 else "train" for i in range(len(IMAGES))]
CATS, DOGS = np.flatnonzero(LABELS == 0), np.flatnonzero(LABELS == 1)
LIMITS = Inspect(max_unreadable=0.05, min_per_class=10, fail_on=[])
AS_NOW = Schema(
    data="ours",
    classes=("cat", "dog"),
    modes=("RGB",),
    formats=("JPEG",),
    width=(48, 48),
    height=(48, 48),
    brightness=(float(IMAGES.mean()), 50.0),
)

Set = tuple[Pictures, Schema | None]
Images = NDArray[np.uint8]


def look(pictures: Pictures, folder: Path, expected: Schema | None = AS_NOW) -> list[Finding]:
    target = Target(pictures.read(len(pictures) - 1, Target((8, 8, 1)))[0].shape)
    found = inspection.inspect(pictures, target, folder)
    near = near_duplicates.groups(found.thumbnails, found.fingerprints)
    seen = Seen(found, near, LIMITS, target.shape, expected, schema.describe(found, "ours"))
    return findings.look(seen)


# ---- faults ----


def clean(**more: Any) -> Pictures:
    return pictures_of(IMAGES, LABELS, **more)


def changed(i: int, image: Images) -> Pictures:
    """A picture is replaced."""
    images = IMAGES.copy()
    images[i] = image
    return pictures_of(images, LABELS)


def copied(change: Callable[[Images], Images], **more: Any) -> Pictures:
    """The last picture but one is also there changed, in the same class."""
    labels = LABELS.copy()
    labels[-1] = labels[-2]
    return pictures_of([*IMAGES[:-1], change(IMAGES[-2])], labels, **more)


def odd(which: Any, **facts: Any) -> Pictures:
    """Files that are odd in something."""
    return clean(facts={int(i): facts for i in which})


def cut(image: Images) -> Images:
    inside = image[4:46, 1:44]
    return cv2.resize(inside, (48, 48), interpolation=cv2.INTER_CUBIC)


def resized(image: Images) -> Images:
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC)


def brighter(image: Images) -> Images:
    return np.clip(image * 1.15 + 20, 0, 255).astype(np.uint8)


def flatter(image: Images) -> Images:
    return (image * 0.6 + 50).astype(np.uint8)


def shifted() -> Pictures:
    darker = np.array([split == "test" for split in SPLITS])[:, None, None, None]
    return pictures_of(np.where(darker, IMAGES // 3, IMAGES), LABELS, splits=SPLITS)


def framed() -> Pictures:
    images = IMAGES.copy()
    images[CATS, :4] = images[CATS, -4:] = images[CATS, :, :4] = images[CATS, :, -4:] = 250
    images[DOGS, :4] = images[DOGS, -4:] = images[DOGS, :, :4] = images[DOGS, :, -4:] = 5
    return pictures_of(images, LABELS)


def relabelled(change: Callable[[Images], Images]) -> Pictures:
    pictures = copied(change)
    pictures.labels[-1] = 1 - pictures.labels[-2]
    return pictures


def one_of_few(kind: int) -> Pictures:
    """A class has so many pictures."""
    which = [*CATS, *DOGS[:kind]]
    return pictures_of(IMAGES[which], LABELS[which])


def against(**was: Any) -> Set:
    return clean(), AS_NOW.model_copy(update=was)


both_sides = ["test" if i == len(IMAGES) - 1 else "train" for i in range(len(IMAGES))]
DOGS_ALONE = ["train" if i in CATS else split for i, split in enumerate(SPLITS)]
MIDDLE = IMAGES[5]
BLURRED = cv2.GaussianBlur(IMAGES[20], (0, 0), 2.5)
PLANTED: dict[
    str, tuple[str, Callable[[], Pictures | Set]]
] = {  # fault: finding, how it is planted
    "a tenth of the files cut off": ("broken", lambda: clean(broken=range(12))),
    "a broken file": ("unreadable", lambda: clean(broken=[3])),
    "a class of 4 pictures": ("few_pictures", lambda: one_of_few(4)),
    "a class of which nothing in train can be read": (
        "few_pictures",
        lambda: clean(splits=SPLITS, broken=[i for i in CATS if SPLITS[i] == "train"]),
    ),
    "a class that is not in test": ("class_not_in_split", lambda: clean(splits=DOGS_ALONE)),
    "constant pictures only": (
        "nothing_to_learn",
        lambda: pictures_of(np.full_like(IMAGES, 7), LABELS),
    ),
    "a patient on two sides": (
        "group_across_splits",
        lambda: clean(splits=SPLITS, groups=tuple(f"patient {i // 2}" for i in range(len(IMAGES)))),
    ),
    "a missing class": ("missing_classes", lambda: against(classes=("cat", "cow", "dog"))),
    "a new class": ("new_classes", lambda: against(classes=("cat",))),
    "pictures by a name that is not taken": (
        "ignored",
        lambda: clean(ignored=(("cat/1.xcf", "no picture by its name"),)),
    ),
    "a PNG called .jpg": ("wrong_suffix", lambda: odd([4], format="PNG")),
    "one picture with two labels": ("exact_label_clash", lambda: relabelled(np.copy)),
    "one photo saved twice with two labels": ("near_label_clash", lambda: relabelled(jpeg)),
    "a test picture in train": (
        "exact_across_splits",
        lambda: copied(np.copy, splits=both_sides),
    ),
    "a test photo, encoded anew, in train": (
        "near_across_splits",
        lambda: copied(jpeg, splits=both_sides),
    ),
    "a picture twice": ("exact_duplicates", lambda: copied(np.copy)),
    "a near duplicate by JPEG": ("near_duplicates", lambda: copied(jpeg)),
    "a near duplicate by cutting": ("near_duplicates", lambda: copied(cut)),
    "a near duplicate by size": ("near_duplicates", lambda: copied(resized)),
    "a near duplicate by brightness": ("near_duplicates", lambda: copied(brighter)),
    "a near duplicate by contrast": ("near_duplicates", lambda: copied(flatter)),
    "a class of 3 beside one of 50": ("imbalance", lambda: one_of_few(3)),
    "cats in large files": ("shortcut_file_size", lambda: odd(CATS, bytes=90_000)),
    "cats as PNG": ("shortcut_format", lambda: odd(CATS, format="PNG")),
    "cats by another camera": ("shortcut_camera", lambda: odd(CATS, camera="Canon EOS 5D")),
    "cats in another resolution": ("shortcut_resolution", lambda: odd(CATS, width=60, height=60)),
    "cats upright": ("shortcut_aspect", lambda: odd(CATS, height=72)),
    "cats in a white frame": ("shortcut_border", framed),
    "a test set by night": ("shifted_splits", shifted),
    "a blank picture": ("blank", lambda: changed(5, np.full_like(MIDDLE, 128))),
    "a dark picture": ("dark", lambda: changed(5, MIDDLE // 9)),
    "a bright picture": ("bright", lambda: changed(5, 255 - MIDDLE // 9)),
    "a picture in fog": ("low_contrast", lambda: changed(5, 120 + MIDDLE // 20)),
    "a blurred picture": ("blurred", lambda: changed(20, BLURRED)),
    "a thumbnail": ("odd_size", lambda: odd([5], width=20, height=20)),
    "a panorama": ("odd_shape", lambda: odd([5], width=640)),
    "a grey picture": (
        "mixed_colour",
        lambda: changed(5, np.repeat(MIDDLE[..., 1:2], 3, axis=2)),
    ),
    "classes of 50 pictures": ("scarce_classes", clean),
    "colour where grey was": ("new_channels", lambda: against(modes=("L",))),
    "JPEG where PNG was": ("new_formats", lambda: against(formats=("PNG",))),
    "small pictures where large ones were": ("new_sizes", lambda: against(width=(640, 800))),
    "pictures by day where night was": ("new_brightness", lambda: against(brightness=(30.0, 20.0))),
    "nothing expected yet": ("no_schema", lambda: (clean(), None)),
}
EVERYWHERE = {"scarce_classes"}  # of the clean set too, which is small


def test_every_planted_fault_is_found(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    missed = []
    for fault, (name, plant) in PLANTED.items():
        planted = plant()
        found = (
            look(planted, tmp_path)
            if isinstance(planted, Pictures)
            else look(planted[0], tmp_path, planted[1])
        )
        if name not in {finding.name for finding in found}:
            missed.append(fault)
    record_property(
        "inspect", f"{len(PLANTED) - len(missed)} of {len(PLANTED)} planted faults found"
    )
    assert not missed and {name for name, _ in PLANTED.values()} == FINDINGS.keys()


def test_a_class_that_is_not_in_test_stops_nothing(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in look(clean(splits=DOGS_ALONE), tmp_path)}
    assert "few_pictures" not in found
    assert found["class_not_in_split"].severity == "warning"
    assert found["class_not_in_split"].text == "test has no readable picture of class 'cat'"


def test_size_of_file_is_a_warning_only_where_content_does_not_explain_it(tmp_path: Path) -> None:
    def severity(**facts: Any) -> str:
        pictures = odd(CATS, bytes=90_000, **facts)
        return {one.name: one.severity for one in look(pictures, tmp_path)}["shortcut_file_size"]

    assert severity() == severity(format="PNG", width=60) == "note"
    assert severity(width=60) == "warning"


def test_real_digits_as_png_are_not_warned_of_by_their_file_sizes(tmp_path: Path) -> None:
    """A one makes a smaller file than an eight."""
    digits = load_digits()
    scans = np.stack([np.kron(image, np.ones((4, 4))) for image in digits.images[:184]])
    images = (scans * 15.9375).astype(np.uint8)[..., None]
    sizes = {
        i: {"format": "PNG", "bytes": len(cv2.imencode(".png", image)[1])}
        for i, image in enumerate(images)
    }
    names = [str(digit) for digit in range(10)]
    files = [f"{i}.png" for i in sizes]
    pictures = pictures_of(images, digits.target[:184], classes=names, names=files, facts=sizes)
    severity = {one.name: one.severity for one in look(pictures, tmp_path, None)}
    assert severity["shortcut_file_size"] == "note" and "warning" not in severity.values()


def test_a_set_without_a_fault_has_no_finding(tmp_path: Path) -> None:
    assert {finding.name for finding in look(clean(splits=SPLITS), tmp_path)} == EVERYWHERE


def draws() -> list[Pictures]:
    """50 sets without a fault: parts of photos with labels by chance, and real digits."""
    rng = np.random.default_rng(1)
    digits = load_digits()
    scans = (digits.images * 15.9375).astype(np.uint8)[..., None]
    sets = []
    for _ in range(25):
        which = rng.permutation(len(IMAGES))[:90]
        sets.append(pictures_of(IMAGES[which], rng.integers(0, 3, 90), classes=("a", "b", "c")))
        which = rng.permutation(len(scans))[:600]
        names = [str(digit) for digit in range(10)]
        splits = ["test" if chance else "train" for chance in rng.random(600) < 0.3]
        sets.append(pictures_of(scans[which], digits.target[which], classes=names, splits=splits))
    return sets


def test_fifty_clean_draws_stop_nothing_and_are_hardly_warned_of(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = [finding for pictures in draws() for finding in look(pictures, tmp_path, None)]
    fatal = [finding.name for finding in found if finding.severity == "fatal"]
    warned = [finding for finding in found if finding.severity == "warning"]
    record_property("inspect", f"{len(fatal)} of 50 clean draws stopped, {len(warned)} warnings")
    assert not fatal
    assert len(warned) <= 5, [(finding.name, finding.text) for finding in warned]
