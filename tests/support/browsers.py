"""A headless Chromium, where there is one."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from project import ROOT
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), "chromedriver"
AXE = "axe-core@4.11.0"  # under the MPL: it looks at pages in tests and is part of nothing
CACHE = ROOT / ".imagetrail" / "axe"
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


def hindrances(browser: Chrome) -> list[tuple[str, str, str]]:
    """What hinders people who see or move otherwise, as axe finds it: rule, element and why."""
    browser.execute_script(_axe())
    done: Any = browser.execute_async_script("axe.run().then((done) => arguments[0](done))")
    assert "color-contrast" in {rule["id"] for rule in done["passes"]}
    first = [(rule["id"], rule["nodes"][0]) for rule in done["violations"]]
    return [(name, node["html"], node["failureSummary"]) for name, node in first]


@cache
def _axe() -> str:
    """The script, fetched once by npm; skips the test where that is impossible."""
    script = CACHE / "package/axe.min.js"
    if not script.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        pack = ["npm", "pack", AXE, "--silent", "--pack-destination", str(CACHE)]
        try:
            subprocess.run(pack, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError):
            pytest.skip(f"npm cannot fetch {AXE} here")
        (archive,) = CACHE.glob("*.tgz")
        with tarfile.open(archive) as opened:
            opened.extract("package/axe.min.js", CACHE, filter="data")
    return script.read_text()
