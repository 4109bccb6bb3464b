"""The pictures of the report and of MLflow in this folder: opens both and looks at them.

`make screenshots`, after `make repro`; needs Chromium and its driver on PATH (Debian: chromium,
chromium-driver).
"""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

HERE = Path(__file__).parent
FLAGS = ("headless", "no-sandbox", "disable-gpu", "window-size=1500,900")
SET = 2  # of arms: 1 is the remedies
REPORT = Path("artifacts/report/index.html")
SCREENS = {  # of the report: width, height, theme
    "report.png": (1100, 1240, "light"),
    "report-dark.png": (1100, 1240, "dark"),
    "report-phone.png": (390, 1240, "light"),
}


class Browser(Chrome):
    def __init__(self) -> None:
        options = ChromeOptions()
        for flag in FLAGS:
            options.add_argument(f"--{flag}")
        super().__init__(options, ChromeService(shutil.which("chromedriver")))

    def wait(self, path: str, seconds: float = 60.0) -> WebElement:
        """The first element at this XPath, once it is there."""
        found = presence_of_element_located((By.XPATH, path))
        return WebDriverWait(self, seconds).until(found, f"not on the page: {path}")

    def picture(self, path: Path) -> None:
        """A PNG of 128 colours, which is enough for a page and a third of the bytes."""
        self.settle()
        # Without a mouse, the charts' tool bars are never hidden.
        self.execute_script(
            "document.querySelectorAll('.modebar-container').forEach(e => e.remove())"
        )
        image = Image.open(io.BytesIO(self.get_screenshot_as_png())).convert("RGB")
        image.quantize(128).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    def settle(self) -> None:
        """Waits until the page stays as it is."""
        before, now = b"", self.get_screenshot_as_png()
        while before != now:
            time.sleep(1.5)
            before, now = now, self.get_screenshot_as_png()


@contextmanager
def mlflow_ui() -> Iterator[str]:
    """Runs `imagetrail ui`; yields the address of its table of runs."""
    command = [sys.executable, "-m", "imagetrail.cli", "ui"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        try:
            lines = (re.search(r"MLflow UI: (\S+)", line) for line in process.stdout)
            opened = next(match[1] for match in lines if match)
            next(line for line in process.stdout if "Application startup complete" in line)
            yield opened.partition("&viewStateShareKey=")[0]
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def take_report(browser: Browser) -> None:
    """The top of the page, as it is opened from the disk."""
    for name, (width, height, theme) in SCREENS.items():
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(REPORT.resolve().as_uri())
        browser.picture(HERE / name)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def take_pictures(browser: Browser, runs: str) -> None:
    """`runs`: the address of the table of runs."""
    browser.get(runs)
    browser.wait("//*[text()='Run Name']")
    # The assistant opens at the first visit only.
    browser.execute_script("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
    browser.get("about:blank")

    browser.get(f"{runs}&viewStateShareKey=pipelines")
    for name in ("pipeline ", "tune"):
        row = f"//a[starts-with(., '{name}')]/ancestor::div[@role='gridcell']"
        expander = "*[contains(@class, 'expander') or @role='button']"
        browser.wait(f"{row}//button | {row}//{expander}").click()
        browser.settle()
    browser.picture(HERE / "mlflow-runs.png")

    browser.get(f"{runs}&viewStateShareKey=arms-{SET}&compareRunsMode=CHART")
    browser.wait("//*[text()='Scores']")
    browser.picture(HERE / "mlflow-compare.png")

    browser.get(f"{runs}&viewStateShareKey=trials")
    best = browser.wait("//a[starts-with(., 'trial ')]").get_property("href")
    for row in range(5):
        browser.wait(f"//div[@row-index='{row}']//input[@type='checkbox']").click()
    browser.wait("//button[.='Compare']").click()
    browser.wait("//*[text()='Parallel Coordinates Plot']")
    browser.picture(HERE / "mlflow-five.png")

    browser.get(f"{best}/model-metrics?workflowType=machine_learning")
    browser.picture(HERE / "mlflow-trial.png")


def main() -> None:
    with mlflow_ui() as runs, Browser() as browser:
        take_report(browser)
        take_pictures(browser, runs)


if __name__ == "__main__":
    main()
