"""A headless Chromium, where there is one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), "chromedriver"
needed = pytest.mark.skipif(
    not (CHROMIUM and shutil.which(DRIVER)), reason="there is no Chromium here"
)


@contextmanager
def opened(*flags: str) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in ("headless", "no-sandbox", "disable-gpu", "window-size=1280,860", *flags):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, ChromeService(shutil.which(DRIVER))) as browser:
        browser.set_script_timeout(60)
        yield browser


def wait(browser: Chrome, text: str) -> bool:
    """Whether the text comes to be seen on the page, whatever the case of its letters."""

    def shown(_: Chrome) -> bool:
        return text.lower() in browser.execute_script(
            "return document.body.innerText.toLowerCase()"
        )

    return bool(WebDriverWait(browser, 60).until(shown, f"not on the page: {text}"))
