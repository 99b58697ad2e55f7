"""The report as a page, in a real browser: what it shows, and how it is used."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from factory_reuse._suite.figures import Figures
from factory_reuse._suite.files import as_page, write

pytestmark = pytest.mark.thorough

#: No network, and nothing that asks for one.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--window-size=1200,900", "--force-prefers-reduced-motion"),
)

NASTY = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def browser():
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        if os.environ.get("FACTORY_REUSE_TEST_ALL_BACKENDS"):
            pytest.fail("there is no chromium with its chromedriver")
        pytest.skip("there is no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


def calls(factory, seconds, statements, created, inside=(), count=1):
    return {
        "factory": factory,
        "calls": count,
        "created": created,
        "sources": {
            name: n for name, n in {"created": created, "cache": count - created}.items() if n
        },
        "seconds": seconds,
        "statements": statements,
        "repeated": 0,
        "defaults": 0,
        "spare": 0,
        "inside": list(inside),
    }


def figures(tests=2, name="Order"):
    """Return the figures of tests with an order each; the first: 3 s, 5 statements, 2 rows."""
    info = {
        f"shop.{each}": {"name": each, "module": "shop", "decorated": each == "User"}
        for each in (name, "User")
    }
    made = Figures()
    for number in range(tests):
        user = calls("shop.User", 1 / (number + 1), 2, int(number == 0))
        order = calls(f"shop.{name}", 3 / (number + 1), 5, 1, [user])
        part = {"factories": info, "calls": [order], "leaks": []}
        made.add(f"tests/test_{number % 100}.py::test_{number}", 4 / (number + 1), part)
    return made


@pytest.fixture
def shown(browser, tmp_path):
    """Show figures in the browser; at the end nothing has been said on its console."""

    def shown(figures):
        write(tmp_path / "report.html", figures)
        browser.get((tmp_path / "report.html").as_uri())
        settled(browser, lambda: widths(browser).get("all tests", 0) > 1000)
        return browser

    yield shown
    assert browser.get_log("browser") == []


def frames(browser):
    """Return the flame graph's frames as texts and widths, in whole pixels."""
    script = """
    const width = (g) => g.querySelector("rect").getBoundingClientRect().width;
    return [...document.querySelectorAll("g.frame")].map(
        (g) => [g.__data__.data.name, Math.round(width(g))]
    )"""
    return browser.execute_script(script)


def widths(browser):
    return {name: width for name, width in frames(browser) if width > 2}


def users(browser):
    return [width for name, width in frames(browser) if name == "User"]


def cells(browser, table):
    rows = browser.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def details(browser):
    return browser.find_element(By.ID, "details").text


def settled(browser, condition):
    WebDriverWait(browser, 10).until(lambda _: condition())


def test_headline_and_tables(shown):
    """The page says what the terminal and the JSON file say."""
    browser = shown(figures())
    headline = browser.find_element(By.ID, "headline").text
    assert headline.startswith("4.50 s in factories, 75.0 % of the tests' 6.00 s: 4 calls,")
    factories = cells(browser, "factories")
    assert [row[:6] for row in factories] == [
        ["Order *", "2", "2", "0", "2", "0"],
        ["User", "2", "0", "2", "1", "1"],
    ]
    assert [row[:4] for row in cells(browser, "costs")] == [
        ["Order *", "4.50", "3.00", "10"],
        ["User", "1.50", "1.50", "4"],
    ]
    assert cells(browser, "plain") == [["Order", "2", "0", "0", "0"]]
    assert cells(browser, "cascades") == [["Order", "User", "2", "1", "1.50", "25.0 %"]]
    assert cells(browser, "tests")[0] == ["tests/test_0.py::test_0", "3.00", "4.00", "2", "5"]
    assert not browser.find_element(By.ID, "leaks-section").is_displayed()


def test_sorting(shown):
    """A click on a column's title sorts by it, and a second one the other way round."""
    browser = shown(figures())
    title = browser.find_element(By.XPATH, "//table[@id='factories']//button[text()='reused']")
    header = title.find_element(By.XPATH, "..")
    title.click()
    assert header.get_attribute("aria-sort") == "descending"
    assert [row[0] for row in cells(browser, "factories")] == ["User", "Order *"]
    title.send_keys(Keys.ENTER)
    assert header.get_attribute("aria-sort") == "ascending"
    assert [row[0] for row in cells(browser, "factories")] == ["Order *", "User"]


def test_widths(shown):
    """A frame is as wide as its share of the time, the rows or the statements."""
    browser = shown(figures())
    full = widths(browser)["all tests"]
    assert widths(browser)["test_0"] == pytest.approx(full * 2 / 3, abs=2)
    metric = Select(browser.find_element(By.ID, "metric"))
    metric.select_by_value("rows")
    settled(browser, lambda: abs(widths(browser).get("test_0", 0) - full * 2 / 3) <= 2)
    click(browser, "test_1")
    settled(browser, lambda: widths(browser).get("test_1") == full)
    metric.select_by_value("seconds")  # and the zoom stays
    settled(browser, lambda: widths(browser).get("User") == pytest.approx(full / 3, abs=2))
    assert widths(browser)["test_1"] == full
    browser.find_element(By.ID, "reset").click()
    metric.select_by_value("statements")
    settled(browser, lambda: abs(widths(browser).get("test_0", 0) - full / 2) <= 2)
    settled(browser, lambda: users(browser) == [pytest.approx(full / 5, abs=2)] * 2)


def test_zoom(shown):
    """A click on a frame gives it all of the width; the button zooms out again."""
    browser = shown(figures())
    before = widths(browser)
    click(browser, "test_1")
    settled(browser, lambda: widths(browser).get("test_1") == before["all tests"])
    assert "test_0" not in widths(browser)
    assert details(browser).startswith("tests/test_1.py > test_1, 1.50 s, 33.3 %")
    browser.find_element(By.ID, "reset").click()
    settled(browser, lambda: widths(browser) == before)


def click(browser, name):
    for frame in browser.find_elements(By.CSS_SELECTOR, "g.frame"):
        if frame.get_attribute("name") == name:
            frame.find_element(By.TAG_NAME, "rect").click()
            return


def test_keyboard(shown):
    """The arrow keys move between frames, Enter zooms in, Escape zooms out, a slash searches."""
    browser = shown(figures())
    before = widths(browser)
    flame = browser.find_element(By.ID, "flame")
    flame.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert details(browser).startswith("tests/test_0.py > test_0, 3.00 s")
    flame.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert details(browser).startswith(
        "tests/test_0.py > test_0 > Order > User, 1.00 s, 22.2 %, 1 c"
    )
    flame.send_keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_RIGHT)
    assert details(browser).startswith("tests/test_1.py, 1.50 s")
    flame.send_keys(Keys.ENTER)
    settled(browser, lambda: widths(browser)["tests/test_1.py"] == before["all tests"])
    flame.send_keys(Keys.ESCAPE)
    settled(browser, lambda: widths(browser) == before)
    flame.send_keys("/")
    assert browser.switch_to.active_element.get_attribute("id") == "search"


def test_search(shown):
    """What is searched for is marked, counted and weighed."""
    browser = shown(figures())
    field = browser.find_element(By.ID, "search")
    field.send_keys("uSER")
    matches = browser.find_element(By.ID, "matches")
    settled(browser, lambda: matches.text == "2 frames, 1.50 s, 33.3 %")
    field.clear()
    field.send_keys("(")
    settled(browser, lambda: matches.text.startswith("0 frames"))
    field.send_keys(Keys.BACKSPACE)
    settled(browser, lambda: matches.text == "")


def test_nothing_of_the_project_is_run(shown):
    """Names are text, whatever they say."""
    made = figures(name=NASTY)
    leak = dict.fromkeys(
        ("factory", "row", "attribute", "old", "new", "since", "received_by"), NASTY
    )
    made.leaks.append({**leak, "changed_by": None})
    browser = shown(made)
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements(By.CSS_SELECTOR, "img, iframe, link") == []
    assert any(NASTY in row[0] for row in cells(browser, "factories"))
    assert cells(browser, "leaks")[0][1] == NASTY


def test_page_is_whole(shown):
    """The page needs no other file, and may not ask for one."""
    page = as_page(figures())
    for tag in ("src=", "href=", "@import", "url("):
        assert tag not in page
    browser = shown(figures())
    script = "return performance.getEntriesByType('resource').length"
    assert browser.execute_script(script) == 0


def test_dark(shown):
    """The page is dark where people want it dark."""
    browser = shown(figures())

    def ground():
        script = "return getComputedStyle(document.body).backgroundColor"
        return browser.execute_script(script)

    light = ground()
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        assert (light, ground()) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
        fill = "return document.querySelector('g.frame rect').getAttribute('fill')"
        settled(browser, lambda: browser.execute_script(fill).strip() == "#39414b")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_many_tests(shown):
    """Ten thousand tests are shown, each found, and their sums are right."""
    browser = shown(figures(10_000))
    assert len(frames(browser)) < 5_000  # what is too narrow to see is not drawn
    total = sum(3 / (number + 1) for number in range(10_000))
    assert browser.find_element(By.ID, "headline").text.startswith(f"{total:.2f} s in factories")
    field = browser.find_element(By.ID, "search")
    field.send_keys("test_9999")
    matches = browser.find_element(By.ID, "matches")
    settled(browser, lambda: matches.text.startswith("1 frames"))
    assert len(cells(browser, "tests")) == 100


def test_no_calls(browser, tmp_path):
    """Figures without a call make a page, too."""
    file = tmp_path / "a" / "report.html"
    write(file, Figures())
    browser.get(file.as_uri())
    assert browser.find_element(By.ID, "headline").text.startswith("0.000 s in factories")
    assert browser.get_log("browser") == []
    write(Path(tmp_path / "report.json"), Figures())
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["factories"] == []
