"""The picture of the demo page in this folder: `make screenshots`, after `make repro`."""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from imagetrail.base import paths

HERE = Path(__file__).parent
SIZE = 1100, 1000
NUMBER = 12  # of the test picture that is shown


def browser() -> Chrome:
    options = ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "window-size={},{}".format(*SIZE)):
        options.add_argument(f"--{flag}")
    return Chrome(options, ChromeService(shutil.which("chromedriver")))


def main() -> None:
    images = np.load(paths.TEST / "images.npy", mmap_mode="r", allow_pickle=False)
    command = [sys.executable, "-m", "imagetrail.cli", "demo", "--no-open", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        browser() as opened,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout
        picture = Path(folder) / "picture.png"
        Image.fromarray(images[NUMBER].squeeze()).save(picture)
        address = re.findall(r"http\S+", process.stdout.readline())[0]
        opened.get(address)
        while True:  # until the training pictures have been compared
            opened.find_element(By.ID, "file").send_keys(str(picture))
            WebDriverWait(opened, 60).until(
                lambda _: opened.find_element(By.ID, "alike").is_displayed()
            )
            if not opened.find_element(By.ID, "reason").text:
                break
            opened.refresh()
        shot = Image.open(io.BytesIO(opened.get_screenshot_as_png())).convert("RGB")
        shot.save(HERE / "demo.png", optimize=True)
        process.terminate()


if __name__ == "__main__":
    main()
