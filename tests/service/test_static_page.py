"""`imagetrail demo --static`: files that run the model in a browser, with the answers of ours."""

import base64
import functools
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import as_file, files
from pathlib import Path

import browsers
import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from service_client import draw

from imagetrail.base.samples import Images
from imagetrail.data import decoding
from imagetrail.data.decoding import Target
from imagetrail.serving import inputs, onnx_model


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a plain server of files."""
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsers.opened() as opened:
        yield opened


def as_file_of(kind: str, pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


BROUGHT = """
const [address, shape, fit, done] = arguments;
(async () => {
  const { pixels } = await import("/pixels.js");
  const file = await (await fetch(address)).blob();
  const how = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return Array.from(pixels(await createImageBitmap(file, how), shape, fit));
})().then(done, (error) => done(String(error)));
"""


def brought(browser: Chrome, content: bytes, target: Target) -> Images:
    """What the page makes of a picture."""
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    values = browser.execute_async_script(BROUGHT, address, target.shape, target.fit)
    assert isinstance(values, list), values
    return np.array(values, np.uint8).reshape(target.shape)


@pytest.mark.slow
@browsers.needed
def test_the_page_scales_and_cuts_to_the_last_bit_as_our_decoding(browser: Chrome) -> None:
    rng = np.random.default_rng(0)
    with as_file(files("imagetrail.service") / "page") as page, served(page) as address:
        browser.get(f"{address}pixels.js")
        for fit in ("crop", "pad", "stretch"):
            for shape in ((8, 8, 1), (9, 14, 3), (30, 30, 3)):
                height, width = rng.integers(5, 80, 2)
                content = draw(int(rng.integers(99)), int(height), int(width), 3)
                target = Target(shape, fit)
                expected = decoding.read(io.BytesIO(content), target)[0]
                assert (brought(browser, content, target) == expected).all(), (fit, shape)
        clear = rng.integers(0, 256, (8, 8, 4), np.uint8)
        clear[..., 3] = np.where(clear[..., 3] > 127, 255, 0)
        content, target = as_file_of("PNG", clear), Target((8, 8, 3))
        expected = decoding.read(io.BytesIO(content), target)[0]
        assert (brought(browser, content, target) == expected).all()


def demo(model: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ["demo", "--model", str(model), "--static", str(folder), "--unsure", "0.9"]
    command = [sys.executable, "-m", "imagetrail.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, cwd=folder.parent
    )


def test_without_npm_it_says_what_to_do_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    done = demo(model, tmp_path / "page", PATH="")
    assert done.returncode == 1 and "npm is not installed" in done.stderr
    assert "IMAGETRAIL_MIRROR" in done.stderr and "Traceback" not in done.stderr
    assert not [*tmp_path.iterdir()]


def test_a_folder_of_other_files_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    done = demo(model, tmp_path / "mine")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "is there already" in done.stderr
    assert (tmp_path / "mine/letter.txt").read_text() == "dear"


@pytest.mark.slow
@pytest.mark.fetch
@browsers.needed
def test_the_browser_answers_as_we_do(browser: Chrome, model: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a page of ours is replaced
        done = demo(model, tmp_path / "page")
        assert done.returncode == 0, done.stderr
    opened = onnx_model.load(model)
    browser.get_log("browser")  # what other pages said
    with served(tmp_path / "page") as address:
        browser.get(address)
        browsers.wait(browser, "It runs in this browser")
        for seed in range(3):
            content = draw(seed, 20, 30, 3)
            (tmp_path / f"{seed}.png").write_bytes(content)
            image = decoding.read(io.BytesIO(content), inputs.target_of(opened))[0]
            (expected,) = opened.predict(image[None])
            browser.find_element(By.ID, "file").send_keys(str(tmp_path / f"{seed}.png"))
            browsers.wait(browser, f"Unsure: perhaps {opened.classes[expected.argmax()]}")
            for p in expected:
                browsers.wait(browser, f"{100 * p:.1f} %")
            script = "return import('/engine.js').then((e) => fetch(arguments[0])"
            script += ".then((r) => r.blob()).then(e.answer))"
            address_of = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            found = browser.execute_script(script, address_of)
            assert found["probability"] == pytest.approx(expected.max(), abs=1e-6)
        requested = browser.execute_script(
            "return performance.getEntriesByType('resource').map((one) => one.name)"
        )
        assert requested and all(one.startswith((address, "data:", "blob:")) for one in requested)
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
