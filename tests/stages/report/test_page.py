"""The report in a browser: light and dark, narrow and wide, by mouse and by keys."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import browsers
import pytest
import report_files
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from imagetrail.stages.report import stage
from imagetrail.tracking import run_facts

pytestmark = [pytest.mark.slow, browsers.needed]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with browsers.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("report")
    names = [*report_files.ODD, *(f"class {i}" for i in range(30))]
    report_files.write(root, names, 400)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        stage.run()
        run_facts.write(root, links=run_facts.links("http://127.0.0.1:5000/", "1", "abc"))
    return (root / "artifacts/report/index.html").as_uri()


@pytest.fixture
def show(browser: Chrome, address: str) -> Callable[..., Chrome]:
    """`show(width=…, theme=…)` opens the page on a screen like that."""

    def shown(*, width: int = 1280, theme: str = "light", scripts: bool = True) -> Chrome:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        feature = {"name": "prefers-color-scheme", "value": theme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        blocked = {"value": not scripts}
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", blocked)
        browser.get("about:blank")  # the next may differ from the last by its fragment alone
        browser.get(address)
        return browser

    return shown


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_hinders_people_who_see_or_move_otherwise(
    show: Callable[..., Chrome], theme: str, width: int
) -> None:
    page = show(width=width, theme=theme)
    page.execute_script("document.querySelectorAll('details').forEach((one) => one.open = true)")
    told = browsers.hindrances(page)
    assert not told, json.dumps(told, indent=1)


@pytest.mark.parametrize("width", [360, 390, 1280, 2000])
def test_the_page_is_as_wide_as_the_screen(show: Callable[..., Chrome], width: int) -> None:
    page = show(width=width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    assert not page.get_log("browser")  # type: ignore[no-untyped-call]


def test_dark_is_dark_and_light_is_light(show: Callable[..., Chrome]) -> None:
    script = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(show(theme="dark").execute_script(script)) < 60
    assert min(show(theme="light").execute_script(script)) > 200


def test_a_cell_of_the_matrix_leads_to_its_pictures(show: Callable[..., Chrome]) -> None:
    page = show()
    links = page.find_elements(By.CSS_SELECTOR, ".matrix a")
    hidden = [link for link in links if not target(page, link).is_displayed()]
    hidden[0].send_keys(Keys.ENTER)
    assert page.execute_async_script(
        "const seen = () => document.getElementById(location.hash.slice(1)).offsetParent"
        " ? arguments[0](true) : setTimeout(seen, 20); seen()"
    )


def target(page: Chrome, link: Any) -> Any:
    return page.find_element(By.ID, link.get_attribute("href").split("#")[1])


def test_a_long_table_is_short_until_it_is_asked(show: Callable[..., Chrome]) -> None:
    page = show()
    table = "table[aria-label='Every class'] tbody tr"

    def rows() -> list[str]:
        lines = page.find_elements(By.CSS_SELECTOR, table)
        return [line.text for line in lines if line.is_displayed()]

    assert not rows()  # the chart says the most of it
    unfold(page)
    assert len(rows()) == 15
    find = page.find_element(By.CSS_SELECTOR, "input[aria-label='filter: Every class']")
    find.send_keys("class 29")
    assert rows() and all("class 29" in row for row in rows())  # or what it is taken for
    find.clear()
    find.send_keys(Keys.SPACE, Keys.BACKSPACE)
    assert len(rows()) == 15
    recall = page.find_element(By.XPATH, "//table[@aria-label='Every class']//th[4]/button")
    recall.send_keys(Keys.ENTER)
    assert rows()[0].startswith("猫")  # the one that is recognised least often
    recall.send_keys(Keys.ENTER)
    assert not rows()[0].startswith("猫")


def unfold(page: Chrome) -> None:
    head = page.find_element(By.XPATH, "//summary[starts-with(., 'Every class')]")
    head.send_keys(Keys.ENTER)


def test_times_and_machine_are_shown_at_opening(show: Callable[..., Chrome]) -> None:
    page = show()
    assert "90 s for all stages" in page.find_element(By.ID, "cost").text
    assert "an estimate" in page.find_element(By.ID, "cost").text
    assert "Made on 1970-01-01" in page.find_element(By.TAG_NAME, "main").text
    assert "train" in page.find_element(By.ID, "times").text
    run = page.find_element(By.LINK_TEXT, "this run").get_attribute("href")
    assert run == "http://127.0.0.1:5000/#/experiments/1/runs/abc"


def test_without_scripts_all_but_the_times_is_there(show: Callable[..., Chrome]) -> None:
    page = show(scripts=False)
    unfold(page)
    lines = page.find_elements(By.CSS_SELECTOR, "table[aria-label='Every class'] tbody tr")
    assert len(lines) == 38 and all(line.is_displayed() for line in lines)
    assert "artifacts/*/timing.json" in page.find_element(By.CLASS_NAME, "short").text


@pytest.fixture(autouse=True)
def scripts_again(browser: Chrome) -> Iterator[None]:
    yield
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
