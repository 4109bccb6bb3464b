"""`imagetrail demo`: a picture is dropped, pasted, chosen or taken, and the page names it."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browsers
import numpy as np
import pytest
import tiny_samples
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from service_client import CLASSES, Service, draw

from imagetrail.base import paths, samples
from imagetrail.data import decoding
from imagetrail.service import demo
from imagetrail.serving import inputs, occlusion, onnx_model

Start = Callable[..., Service]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with training pictures: 40 of noise."""
    made = tmp_path_factory.mktemp("project")
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1), np.uint8)
    tiny_samples.write(made, str(paths.TRAIN), images, np.arange(40) % 3, classes=CLASSES)
    return made


@pytest.fixture(scope="module")
def page(started: Start, folder: Path) -> Service:
    return started("demo", "--no-open", "--unsure", "0.9", folder=folder)


@pytest.fixture(scope="module")
def alone(started: Start) -> Service:
    """Of a folder that has no training pictures."""
    return started("demo", "--no-open", "--unsure", "0")


def look(service: Service, content: bytes) -> dict[str, Any]:
    status, _, found = service.ask("/look", content)
    assert status == 200
    return dict(json.loads(found))


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_it_shows_where_the_model_looked_and_what_is_like_it(
    page: Service, folder: Path, model: Path
) -> None:
    train, opened = samples.read(folder / paths.TRAIN), onnx_model.load(model)
    found = look(page, draw(0))
    while found["reason"]:  # the features of the training pictures are being computed
        found = look(page, draw(0))
    image = decoding.read(io.BytesIO(draw(0)), inputs.target_of(opened))[0]
    features = opened.features(train.images)
    order = np.linalg.norm(features - opened.features(image[None]), axis=1).argsort()[:6]
    for one, i in zip(found["nearest"], order, strict=True):
        assert one["class"] == CLASSES[train.labels[i]]
        assert (pixels(one["picture"]) == train.images[i, ..., 0]).all()
    target = int(opened.predict(image[None])[0].argmax())
    heat = occlusion.sensitivity(opened.predict, image, target)
    assert found["class"] == CLASSES[target]
    assert (pixels(found["picture"]) == np.asarray(demo.marked(image, heat))).all()


def test_it_tells_what_is_unlike_the_pictures_that_the_model_knows(
    started: Start, model: Path
) -> None:
    opened = onnx_model.load(model)
    rng = np.random.default_rng(2)
    known = rng.integers(100, 130, (60, 8, 8, 1), np.uint8)
    counts = np.zeros(len(CLASSES), np.int64)
    reference = model.parent / "reference.npz"
    np.savez(reference, features=opened.features(known), counts=counts)
    service = started("demo", "--no-open")
    reference.unlink()
    alike, other = rng.integers(100, 130, (8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert not look(service, encoded(alike))["unusual"]
    assert look(service, encoded(other))["unusual"]


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_where_maps_failed_their_test_none_is_shown_and_a_sentence_tells(
    started: Start, model: Path
) -> None:
    scores = {"pictures": 9, "methods": {"occlusion": {"passed": False}}}
    (model.parent / "scores.json").write_text(json.dumps(scores))
    found = look(started("demo", "--no-open"), draw(0))
    (model.parent / "scores.json").unlink()
    assert found["picture"] is None and "failed their test" in found["tried"]


def test_without_training_pictures_it_says_so_in_a_line(alone: Service) -> None:
    found = look(alone, draw(0))
    assert found["nearest"] == [] and "data/split/train" in str(found["reason"])


def test_a_broken_picture_has_no_explanation(alone: Service) -> None:
    status, _, found = alone.ask("/look", b"broken")
    assert status == 422 and "no JPEG" in json.loads(found)["error"]


# ---- the page in a browser ----

Test = Callable[..., None]


def in_browser(test: Test) -> Test:
    marked: Test = pytest.mark.slow(browsers.needed(test))
    return marked


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsers.opened() as opened:
        yield opened


def in_page(script: str, browser: Chrome, content: bytes) -> None:
    """Runs a script of the page that has the picture as `transfer`."""
    encoded = base64.b64encode(content).decode()
    made = (
        f"const bytes = Uint8Array.from(atob('{encoded}'), (c) => c.charCodeAt(0));"
        "const transfer = new DataTransfer();"
        "transfer.items.add(new File([bytes], '<b>a.png', {type: 'image/png'}));"
    )
    browser.execute_script(made + script)


WAYS = {
    "drop": "dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, cancelable: true}));",
    "paste": "dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer}));",
    "choose": "const file = document.getElementById('file'); file.files = transfer.files;"
    "file.dispatchEvent(new Event('change'));",
}
LARGE = "transfer.items.clear(); transfer.items.add(file);" + WAYS["drop"]
NO_FILE = "dispatchEvent(new DragEvent('drop', {dataTransfer: new DataTransfer()}));"


@in_browser
@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_answered_however_it_comes(page: Service, browser: Chrome, way: str) -> None:
    browser.get(page.address)
    browsers.wait(browser, "8×8 grey")
    in_page(WAYS[way], browser, draw(3))
    answer = page.predict(draw(3))[1]["answers"][0]
    browsers.wait(browser, f"Unsure: perhaps {answer['class']}")  # names are text
    for one in answer["top"]:
        browsers.wait(browser, f"{100 * one['probability']:.1f} %")
    browsers.wait(browser, "The nearest training pictures")
    assert browser.title == "Try the model"
    assert browser.find_elements(By.CSS_SELECTOR, "#heat[alt*='in orange']")
    assert all(one.get_attribute("alt") for one in browser.find_elements(By.TAG_NAME, "img"))
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


@in_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_phone_and_desk(page: Service, browser: Chrome, width: int) -> None:
    facts = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)
    browser.get(page.address)
    in_page(WAYS["drop"], browser, draw(3))
    browsers.wait(browser, "The nearest training pictures")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@in_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_hinders_people_who_see_or_move_otherwise(
    page: Service, browser: Chrome, theme: str, width: int
) -> None:
    facts = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.address)
    empty = browsers.hindrances(browser)
    in_page(WAYS["drop"], browser, draw(3))
    browsers.wait(browser, "The nearest training pictures")
    assert not empty and not browsers.hindrances(browser)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@in_browser
def test_what_goes_wrong_is_said_on_the_page(alone: Service, browser: Chrome) -> None:
    browser.get(alone.address)
    browsers.wait(browser, "8×8 grey")
    in_page(WAYS["drop"], browser, b"broken")
    assert browsers.wait(browser, "This cannot be read: no JPEG")
    in_page(
        "dispatchEvent(new DragEvent('drop', {dataTransfer: new DataTransfer()}));", browser, b""
    )
    assert browsers.wait(browser, "That was no picture file")
    in_page(WAYS["drop"], browser, draw(3))
    assert browsers.wait(browser, "data/split/train")
    browser.find_element(By.ID, "camera").click()
    assert browsers.wait(browser, "There is no camera here")
    alone.process.terminate()
    alone.process.wait()
    in_page(WAYS["drop"], browser, draw(3))
    assert browsers.wait(browser, "The server has ended; start `imagetrail demo` again")


@in_browser
def test_the_camera_takes_a_picture_by_the_keyboard_alone(page: Service) -> None:
    fakes = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    with browsers.opened(*fakes) as browser:
        browser.get(page.address)
        browsers.wait(browser, "8×8 grey")
        press = browser.switch_to
        press.active_element.send_keys(Keys.TAB, Keys.TAB)
        press.active_element.send_keys(Keys.ENTER)
        browsers.wait(browser, "Stop the camera")
        press.active_element.send_keys(Keys.TAB)
        press.active_element.send_keys(Keys.ENTER)
        browsers.wait(browser, "Answered in")
        assert "Use the camera" in browser.find_element(By.TAG_NAME, "body").text
