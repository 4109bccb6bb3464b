"""The pictures of MLflow in this folder: opens the UI of this repository's runs and looks at it.

`make screenshots`, after `make repro`; needs Chromium and its driver (Debian: chromium, chromium-driver) on PATH.
"""

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
FLAGS = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
SIZE = (1500, 900)
SET = 2  # of arms: 1 is the cures
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element


class Browser:
    """Chromium, driven by the W3C WebDriver protocol."""

    def __init__(self, address: str, profile: str) -> None:
        arguments = [
            f"--{flag}"
            for flag in [
                *FLAGS.split(),
                f"user-data-dir={profile}",
                f"window-size={SIZE[0]},{SIZE[1]}",
            ]
        ]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}
        self._session = f"{address}/session"
        made = self._call("", {"capabilities": {"alwaysMatch": options}})
        self._session += f"/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._call("/url", {"url": url})

    def do(self, script: str, *arguments: Any) -> Any:
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def wait(self, path: str, seconds: float = 60.0) -> str:
        """The first element at this XPath, once it is there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := self._call("/elements", {"using": "xpath", "value": path}):
                return str(found[0][ELEMENT])
            time.sleep(0.2)
        raise SystemExit(f"not on the page: {path}")

    def click(self, path: str) -> None:
        self._call(f"/element/{self.wait(path)}/click", {})

    def attribute(self, element: str, name: str) -> str:
        return str(self._call(f"/element/{element}/property/{name}"))

    def picture(self, path: Path) -> None:
        """A PNG of 128 colours, which is enough for a page and a third of the bytes."""
        self.settle()
        taken = base64.b64decode(self._call("/screenshot"))
        Image.open(io.BytesIO(taken)).convert("RGB").quantize(128).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    def settle(self) -> None:
        """Waits until the page stays as it is, then hides what hides the charts where there is no mouse."""
        before, now = "", self._call("/screenshot")
        while before != now:
            time.sleep(1.5)
            before, now = now, self._call("/screenshot")
        self.do("for (const bar of document.querySelectorAll('.modebar-container')) bar.remove()")

    def quit(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self._session, method="DELETE"))

    def _call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._session + path, data, {"Content-Type": "application/json"}
        )
        try:
            return json.load(urllib.request.urlopen(request))["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(json.load(error)["value"]["message"]) from None


@contextmanager
def started(command: list[str], says: str) -> Iterator[str]:
    """What a process says that matches `says`; it and what it has started end with the block."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        try:
            lines = (re.search(says, line) for line in process.stdout)
            yield next(match[1] for match in lines if match)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address).status == 200)
    except urllib.error.URLError:
        return False


def look(browser: Browser, runs: str) -> None:
    """`runs`: the address of the table of runs."""
    browser.open(runs)
    browser.wait("//*[text()='Run Name']")
    browser.do(
        "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')"
    )  # it opens at the first visit only
    browser.open("about:blank")

    browser.open(f"{runs}&viewStateShareKey=pipelines")
    for name in ("pipeline ", "tune"):
        row = f"//a[starts-with(., '{name}')]/ancestor::div[@role='gridcell']"
        browser.click(f"{row}//button | {row}//*[contains(@class, 'expander') or @role='button']")
        browser.settle()
    browser.picture(HERE / "mlflow-runs.png")

    browser.open(f"{runs}&viewStateShareKey=arms-{SET}&compareRunsMode=CHART")
    browser.wait("//*[text()='Scores']")
    browser.picture(HERE / "mlflow-compare.png")

    browser.open(f"{runs}&viewStateShareKey=trials")
    best = browser.wait("//a[starts-with(., 'trial ')]")
    address = browser.attribute(best, "href")
    for row in range(5):
        browser.click(f"//div[@row-index='{row}']//input[@type='checkbox']")
    browser.click("//button[.='Compare']")
    browser.wait("//*[text()='Parallel Coordinates Plot']")
    browser.picture(HERE / "mlflow-five.png")

    browser.open(f"{address}/model-metrics?workflowType=machine_learning")
    browser.picture(HERE / "mlflow-trial.png")


def main() -> None:
    driver = started(["chromedriver", "--port=9515"], r"(started successfully)")
    ui = started([sys.executable, "-m", "imagetrail.cli", "ui"], r"MLflow UI: (\S+)")
    with driver, ui as runs, tempfile.TemporaryDirectory() as profile:
        while not answers(runs):  # the server says where before it listens
            time.sleep(0.5)
        browser = Browser("http://127.0.0.1:9515", profile)
        try:
            look(browser, runs)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
