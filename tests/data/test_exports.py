import json
from pathlib import Path
from typing import Any

import pytest

from imagetrail.base.errors import UserError
from imagetrail.data import exports


def write(folder: Path, content: Any, name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def task(image: str, *choices: str, **changes: Any) -> dict[str, Any]:
    """A task of Label Studio with one answer."""
    result = {"type": "choices", "from_name": "kind", "value": {"choices": list(choices)}}
    return {"data": {"image": image}, "annotations": [{"result": [result]}]} | changes


def annotated(*answers: str) -> dict[str, Any]:
    return task("x.png") | {
        "annotations": [task("x.png", answer)["annotations"][0] for answer in answers]
    }


def test_label_studios_choices_become_rows_whatever_the_storage(tmp_path: Path) -> None:
    tasks = [
        task("/data/upload/1/0a1b2c3d-my%20cat.png", "cat"),
        task("/data/local-files/?d=pets/dogs%2F1.png", "dog"),
        task("s3://bucket/more/2.png", "dog"),
    ]
    assert exports.read(write(tmp_path, tasks)).rows == [
        {"path": "0a1b2c3d-my cat.png", "label": "cat"},
        {"path": "pets/dogs/1.png", "label": "dog"},
        {"path": "2.png", "label": "dog"},
    ]


def test_what_label_studio_says_otherwise_is_counted_by_reason(tmp_path: Path) -> None:
    cancelled = task("x.png", "cat")
    cancelled["annotations"][0]["was_cancelled"] = True
    boxes = {"type": "rectanglelabels", "value": {"rectanglelabels": ["cat"]}}
    tasks = [
        task("1.png", "cat"),
        cancelled,
        task("x.png", annotations=[]),
        annotated("cat", "dog"),
        task("x.png", "cat", "dog"),
        task("x.png", annotations=[{"result": [boxes]}]),
    ]
    found = exports.read(write(tmp_path, tasks))
    assert len(found.rows) == 1 and found.left_out == {
        "not labelled": 2,
        "with answers that differ": 1,
        "with several choices, which is not supported": 1,
        "labelled by rectanglelabels, which is not supported": 1,
    }


def test_people_who_agree_are_one_answer(tmp_path: Path) -> None:
    assert exports.read(write(tmp_path, [annotated("cat", "cat")])).rows[0]["label"] == "cat"


def coco(*annotations: dict[str, Any], images: int = 4) -> dict[str, Any]:
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 10, "height": 10} for i in range(images)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": list(annotations),
    }


def test_a_coco_file_of_one_category_a_picture_is_a_table(tmp_path: Path) -> None:
    content = coco(
        {"image_id": 0, "category_id": 7},
        {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "segmentation": []},
        {"image_id": 2, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"image_id": 3, "category_id": 1},
        {"image_id": 3, "category_id": 7},
        images=5,
    )
    found = exports.read(write(tmp_path, content))
    assert found.rows == [{"path": "0.png", "label": "dog"}, {"path": "1.png", "label": "cat"}]
    assert found.left_out == {
        "with boxes or outlines, which is detection and not supported": 1,
        "with several categories, which is not supported": 1,
        "not labelled": 1,
    }


def test_annotations_of_images_that_are_not_listed_are_counted(tmp_path: Path) -> None:
    notes = [{"image_id": i, "category_id": 7} for i in (0, 8, 8, 9)]
    found = exports.read(write(tmp_path, coco(*notes, images=1)))
    assert found.rows == [{"path": "0.png", "label": "dog"}]
    assert found.left_out == {"annotations of images that are not listed": 3}


BOX = {"image_id": 0, "category_id": 7, "bbox": [1, 1, 2, 2]}


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("0 0.5 0.5 1 1", "1.txt", "YOLO's boxes are for detection, which is not supported"),
        ("<annotation/>", "1.xml", "VOC's boxes are for detection"),
        ("{", "a.json", "is not JSON"),
        ({"cat": 1}, "a.json", "is neither kind of export that is known"),
        ([{"image": "1.png", "choice": "cat"}], "a.json", "as JSON (not JSON-MIN)"),
        ([], "a.json", "no picture with one label: there are none"),
        ([{"data": {}}], "a.json", "a.json: task 1 has no annotations; wanted is"),
        ([{"data": {}, "annotations": [{}]}], "a.json", "an annotation of task 1 has no result"),
        ([task("", "cat")], "a.json", "a.json: task 1 names no file"),
        ([task("a.png") | {"annotations": 5}], "a.json", "has a text, number or list where such"),
        (
            coco({"image_id": 0, "category_id": 9}),
            "a.json",
            "a.json: annotation 1 names category 9, which is not in categories",
        ),
        (coco({"image_id": 0, "category_id": [1]}), "a.json", "where such an export has something"),
        (coco({"category_id": 7}), "a.json", "annotation 1 has no image_id"),
        (coco() | {"images": ["0.png"]}, "a.json", "image 1 is no JSON object"),
        (coco(BOX | {"bbox": [1]}), "a.json", "where such an export has something else"),
        (coco(BOX, images=1), "a.json", "no picture with one label: 1 with boxes or outlines"),
    ],
)
def test_what_is_not_supported_is_said_plainly(
    tmp_path: Path, content: Any, name: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        exports.read(write(tmp_path, content, name))
    assert words in str(caught.value) and "\n" not in str(caught.value)
