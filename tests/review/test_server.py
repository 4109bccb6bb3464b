"""The page over HTTP: who may ask, what it shows, and what a key writes."""

import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_onnx
from PIL import Image
from review_page import Page, refusal, suspect

from imagetrail.base import files, paths, samples
from imagetrail.base.params import load
from imagetrail.data import arrival, corrections
from imagetrail.data.corrections import Correction
from imagetrail.data.decoding import Target
from imagetrail.data.params import Data
from imagetrail.review.desk import MODEL
from imagetrail.serving import onnx_model


def rows() -> list[tuple[str, str]]:
    return [(row.source, row.label) for row in corrections.read(paths.CORRECTIONS)]


def test_only_who_has_the_address_gets_an_answer(page: Page) -> None:
    root = f"http://127.0.0.1:{page.server.server_port}/"
    for path in ("", "state", "x/state", page.server.token, f"{page.server.token}x/state"):
        assert refusal(lambda path=path: urllib.request.urlopen(root + path))[0] == 403
    rebound = {"Host": f"evil.example:{page.server.server_port}"}
    assert refusal(lambda: page.get("state", **rebound))[0] == 403
    assert refusal(lambda: page.get("state", Origin="https://evil.example"))[0] == 403
    assert page.server.server_address[0] == "127.0.0.1"
    page.get("state")
    assert "Access-Control-Allow-Origin" not in page.headers
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_form_of_another_page_cannot_write(page: Page) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        request = urllib.request.Request(
            page.server.address + "undo", b"{}", {"Content-Type": kind}
        )
        assert refusal(lambda request=request: urllib.request.urlopen(request))[0] == 400
    assert not paths.CORRECTIONS.exists()


def test_the_page_loads_nothing_from_elsewhere(page: Page) -> None:
    parts = [page.get(name).decode() for name in ("", "style.css", "script.js")]
    assert "Review" in parts[0] and not re.findall(r"https?:|url\(|@import|[\"']//", "".join(parts))


def test_queues_say_what_is_left_and_what_makes_those_that_are_not_there(page: Page) -> None:
    found = {queue["name"]: queue for queue in page.json("state")["queues"]}
    assert {name: queue["left"] for name, queue in found.items()} == {
        "labels": 2,
        "duplicates": 2,
        "mistakes": 0,
        "unreadable": 0,
    }
    assert found["labels"]["missing"] == "" and "evaluate" in found["mistakes"]["missing"]


def test_groups_whose_labels_disagree_come_first(page: Page) -> None:
    first, second = page.json("queue/duplicates?from=0&count=9")
    assert [one["source"] for one in first["members"]] == ["boot/0.png", "coat/1.png"]
    assert first["reason"] == "exact duplicates, different labels"
    assert second["reason"] == "near duplicates"


def test_the_models_surest_mistake_comes_first(opened: Callable[[], Page]) -> None:
    table = {
        "id": ["wear/boot/0.png", "wear/coat/0.png", "wear/hat/0.png"],
        "label": [0, 1, 2],
        "predicted": [1, 1, 0],
        "p_boot": [0.4, 0.1, 0.8],
        "p_coat": [0.5, 0.8, 0.1],
        "p_hat": [0.1, 0.1, 0.1],
    }
    paths.artifacts("evaluate")
    pq.write_table(pa.table(table), paths.ARTIFACTS / "evaluate/predictions.parquet")
    shown = opened().json("queue/mistakes?from=0&count=9")
    assert [
        (item["members"][0]["source"], item["suggested"], item["p_suggested"]) for item in shown
    ] == [("hat/0.png", "boot", 0.8), ("boot/0.png", "coat", 0.5)]


def test_a_picture_keeps_its_shape_and_is_kept_by_the_browser(page: Page) -> None:
    number = page.json("queue/labels?from=0&count=1")[0]["members"][0]["picture"]
    image = Image.open(io.BytesIO(page.get(f"picture/{number}?size=large")))
    assert image.size == (16, 12) and "max-age" in page.headers["Cache-Control"]
    about = page.json(f"about/{number}")
    assert (about["width"], about["height"]) == (16, 12)


def test_the_nearest_training_pictures_are_those_of_the_nearest_features(
    page: Page, folder: Path
) -> None:
    desk = page.server.desk
    desk.nearest.prepare()
    assert "dvc repro export" in page.json("about/1")["note"]
    pictures = arrival.originals(load(Data, "data"))
    images = np.stack(list(pictures.readable(range(len(pictures)), Target((8, 8, 1)))))
    sources = list(pictures.sources)
    index = samples.make_index(
        ids=sources, labels=pictures.labels, origin="real", sources=sources, fingerprints=sources
    )
    samples.write(paths.TRAIN, [images], index, classes=pictures.classes, shape=(8, 8, 1))
    path = tiny_onnx.write(MODEL, tiny_onnx.noise(pictures.classes))
    features = onnx_model.load(path).features(images)
    order = np.argsort(np.linalg.norm(features - features[1], axis=1), kind="stable")
    expected = [sources[i] for i in order[1:7]]

    for _ in range(2):  # computed, then kept
        desk.nearest.prepare()
        found = page.json("about/1")
        assert [one["source"] for one in found["nearest"]] == expected and not found["note"]
        assert len(list(folder.glob(".imagetrail/review/*.npy"))) == 1
    tiny_onnx.write(MODEL, tiny_onnx.noise(pictures.classes, side=9))
    desk.nearest.prepare()
    assert "9×9" in page.json("about/1")["note"]


def test_a_picture_that_vanished_is_said_to_be_missing(page: Page, folder: Path) -> None:
    (folder / "photos/boot/1.png").unlink()
    code, reason = refusal(lambda: page.get("picture/1?size=small"))
    assert code == 404 and "no such file" in reason
    assert "no such file" in page.json("about/1")["fault"]


def test_what_is_no_longer_in_the_data_set_is_shown_and_can_only_be_dropped(
    folder: Path, opened: Callable[[], Page]
) -> None:
    (folder / "photos/boot/1.png").unlink()
    page = opened()
    assert page.json("queue/labels?from=0&count=1")[0]["members"][0]["picture"] is None
    assert refusal(lambda: page.decide("labels", 0, "keep"))[0] == 400
    page.decide("labels", 0, "drop")
    assert rows() == [("boot/1.png", "drop")]


def test_a_key_is_a_row_and_the_item_does_not_come_back(
    page: Page, opened: Callable[[], Page]
) -> None:
    assert page.decide("labels", 0, "label:hat", source="boot/1.png")["state"]
    page.decide("labels", 1, "keep", source="coat/2.png")
    assert corrections.read(paths.CORRECTIONS) == [
        Correction("boot/1.png", "hat", "Ada", "relabelled: suspected label error"),
        Correction("coat/2.png", "coat", "Ada", "kept: suspected label error"),
    ]
    again = opened()
    assert again.json("state")["queues"][0]["left"] == 0
    assert again.json("next/labels?from=-1") is None
    assert again.json("queue/labels?from=0&count=1")[0]["members"][0]["label"] == "boot"


def test_of_a_group_one_is_kept_or_all_are(page: Page) -> None:
    page.decide("duplicates", 0, "drop", source="coat/1.png", others=True)
    assert rows() == [("boot/0.png", "drop")]
    assert page.json("queue/duplicates?from=0&count=1")[0]["done"]
    page.decide("duplicates", 1, "keep")
    assert rows()[1:] == [("hat/2.png", "hat"), ("hat/3.png", "hat")]


def test_undo_leads_back_to_what_it_was_about(page: Page) -> None:
    page.decide("labels", 1, "drop", source="coat/2.png")
    page.decide("labels", 1, "keep", source="coat/2.png")
    assert page.post("undo")["place"] == ["labels", 1] and rows() == [("coat/2.png", "drop")]
    page.post("undo")
    assert rows() == [] and page.post("undo")["place"] is None


def test_rows_of_others_stay_in_their_order(page: Page) -> None:
    mine = [Correction("hat/1.png", "coat", "Bob", "seen, by eye"), Correction("gone.png", "drop")]
    corrections.write(paths.CORRECTIONS, mine)
    page.decide("labels", 0, "drop", source="boot/1.png")
    edited = [Correction("coat/0.png", "boot", "Eve"), *corrections.read(paths.CORRECTIONS)]
    corrections.write(paths.CORRECTIONS, edited)  # an editor, while the page is open
    page.decide("labels", 1, "label:boot", source="coat/2.png")
    page.decide("labels", 0, "keep", source="boot/1.png")
    names = ["coat/0.png", "hat/1.png", "gone.png", "boot/1.png", "coat/2.png"]
    found = corrections.read(paths.CORRECTIONS)
    assert [row.source for row in found] == names
    assert found[1:3] == mine and found[3].label == "boot"


def test_two_pages_that_write_at_once_lose_nothing(opened: Callable[[], Page]) -> None:
    sources = sorted(path.relative_to("photos").as_posix() for path in Path("photos").glob("*/*"))
    suspect(*sources, suggested="hat")
    both = opened(), opened()  # each with a state of its own, as two processes have
    threads = [
        threading.Thread(target=both[i % 2].decide, args=("labels", i, "drop"))
        for i in range(len(sources))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows()) == [(source, "drop") for source in sources]


def test_what_cannot_be_is_one_line(page: Page) -> None:
    for path in ("queue/nonsense?from=0&count=1", "queue/labels?from=x", "picture/99?size=large"):
        code, text = refusal(lambda path=path: page.get(path))
        assert code == 400 and "\n" not in text
    assert "unknown class 'shoe'" in refusal(lambda: page.decide("labels", 0, "label:shoe"))[1]
    assert "not in this item" in refusal(lambda: page.decide("labels", 0, "drop", source="z"))[1]
    assert refusal(lambda: page.decide("labels", 9, "keep"))[0] == 400
    assert refusal(lambda: page.get("../params.yaml"))[0] == 404
    assert not paths.CORRECTIONS.exists()


def test_what_is_no_request_of_a_browser_is_refused_and_the_next_is_answered(page: Page) -> None:
    for path in ("x", "http://[", "*", "/" + "a" * 9000):
        with socket.create_connection(page.server.server_address) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 40" in raw.recv(99)
    with socket.create_connection(page.server.server_address) as gone:
        host = f"127.0.0.1:{page.server.server_port}"
        gone.sendall(
            f"GET /{page.server.token}/script.js HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        )
    assert page.json("state")


def test_more_than_a_little_is_not_read(page: Page) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.server.server_port)
    head = {"Content-Type": "application/json", "Content-Length": str(1 << 40)}
    connection.request("POST", f"/{page.server.token}/undo", b"", head)
    assert connection.getresponse().status == 400


def test_a_queue_of_100_000_answers_with_a_page_of_it(opened: Callable[[], Page]) -> None:
    count = 100_000
    suspect(*(f"boot/{number}.png" for number in range(count)), suggested="hat")
    corrections.write(
        paths.CORRECTIONS, [Correction(f"boot/{number}.png", "drop") for number in range(count - 1)]
    )
    page = opened()
    before = time.perf_counter()
    assert page.json("state")["queues"][0] | {"title": ""} == {
        "name": "labels",
        "title": "",
        "count": count,
        "left": 1,
        "missing": "",
    }
    assert page.json("next/labels?from=-1") == count - 1
    answer = page.get("queue/labels?from=50000&count=100000")
    assert len(answer) < 200_000 and time.perf_counter() - before < 10


def test_the_command_says_the_address_and_ends_cleanly(folder: Path) -> None:
    command = [sys.executable, "-m", "imagetrail.cli", "review", "--no-open", "--port", "0"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*command, "--by", "Eve"],
        cwd=folder,
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )
    assert process.stdout
    address = process.stdout.readline().split()[1]
    body = b'{"queue": "labels", "position": 0, "choice": "drop", "source": null, "others": false}'
    kind = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(address + "decide", body, kind))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and "1 row, 1 more than before" in out
    assert files.read_csv(folder / paths.CORRECTIONS)[0]["by"] == "Eve"
