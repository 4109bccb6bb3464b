"""The page in a browser, by its keys."""

from collections.abc import Callable, Iterator
from pathlib import Path

import browsers
import pytest
from review_page import Page
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from imagetrail.base import paths
from imagetrail.data import corrections

pytestmark = [pytest.mark.slow, browsers.needed]
SIZES = ((1280, 860), (390, 844))


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsers.opened() as opened:
        yield opened


@pytest.fixture
def press(browser: Chrome, page: Page) -> Callable[..., None]:
    """`press(key, then)` presses a key and waits until `then`, a text, is on the page."""

    def pressed(key: str, then: str) -> None:
        browser.find_element(By.TAG_NAME, "body").send_keys(key)
        wait(browser, then)

    browser.get(page.server.address)
    wait(browser, "boot/1.png")
    return pressed


def wait(browser: Chrome, text: str) -> None:
    def shown(_: Chrome) -> bool:
        here = browser.execute_script(
            "return document.body.innerText.toLowerCase() + ' ' + !view.busy"
        )
        return text.lower() in here and here.endswith("true")

    WebDriverWait(browser, 30).until(shown, f"not on the page: {text}")


def rows() -> list[tuple[str, str]]:
    return [(row.source, row.label) for row in corrections.read(paths.CORRECTIONS)]


def test_every_key_writes_what_it_says(browser: Chrome, press: Callable[..., None]) -> None:
    press("a", "coat/2.png")
    assert rows() == [("boot/1.png", "hat")]
    press("k", "all decided")
    assert rows()[1:] == [("coat/2.png", "coat")]
    press("u", "1 left")
    press("3", "all decided")  # the third class
    assert rows()[1:] == [("coat/2.png", "hat")]
    press("u", "1 left")
    press("l", "Which label?")
    browser.switch_to.active_element.send_keys("bo", Keys.ENTER)
    wait(browser, "all decided")
    assert rows()[1:] == [("coat/2.png", "boot")]
    press("t", "exact duplicates")
    press(Keys.ARROW_DOWN, "▸ coat")
    press("o", "hat/2.png")
    assert rows()[2:] == [("boot/0.png", "drop")]
    press("x", "✕ dropped")
    assert rows()[3:] == [("hat/2.png", "drop")]
    press("t", "Mistakes: not looked for yet")
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_names_are_text_whatever_is_in_them(
    browser: Chrome, folder: Path, opened: Callable[[], Page]
) -> None:
    name = '<img src=x onerror="document.title=1">&amp;'
    (folder / "photos/boot").rename(folder / "photos" / name)
    page = opened()
    browser.get(f"{page.server.address}#duplicates/1")
    wait(browser, "hat/2.png")
    browser.execute_script("openChooser()")
    wait(browser, name)
    assert browser.title == "Review wear"


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(
    browser: Chrome, press: Callable[..., None], size: tuple[int, int]
) -> None:
    facts = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)
    for key, then in (("z", "boot/1.png"), ("t", "exact duplicates"), ("t", "Mistakes")):
        press(key, then)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide == size[0]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_server_that_has_ended_is_said_so(browser: Chrome, press: Callable[..., None]) -> None:
    silent = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True} | silent)
    press("k", "the server has ended")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False} | silent)
    press("k", "coat/2.png")
    assert "the server has ended" not in browser.find_element(By.TAG_NAME, "body").text
