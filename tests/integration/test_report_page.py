"""A report in a real browser: nothing is run, nothing is cut off, and the charts show the numbers."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from app.cli.report.figures import read_figures
from app.cli.report.page import draw
from tests.integration.report_rows import fill

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="NOT TESTED: no chromium with chromedriver on this machine (Debian: chromium chromium-driver)",
    ),
]

#: Every mark of a chart of a card: [class, step, value, height in pixels].
MARKS = """
    const chart = [...document.querySelectorAll(`[data-key="${arguments[0]}"] figure`)]
        .find(figure => figure.querySelector('h4').textContent === arguments[1]).querySelector('svg');
    return [...chart.querySelectorAll('[data-step]')].map(mark => [
        mark.getAttribute('class'), +mark.dataset.step, +(mark.dataset.value ?? mark.dataset.p50),
        mark.getBoundingClientRect().height])
"""


@pytest.fixture
def browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    # No sandbox: tests run as root in containers, on a page that they made themselves.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(connection: Connection, tmp_path: Path) -> Path:
    fill(connection)
    out = tmp_path / "report.html"
    out.write_text(draw(read_figures(connection, 24)), encoding="utf-8")
    return out


def show(browser: Chrome, page: Path, *, width: int = 1440, theme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def figures_of(browser: Chrome) -> dict[str, Any]:
    text = browser.execute_script("return document.getElementById('figures').textContent")
    return dict(json.loads(text))


def test_the_charts_show_the_numbers_of_the_json(browser: Chrome, page: Path) -> None:
    show(browser, page)
    figures = figures_of(browser)
    (kind,) = figures["kinds"]
    bars = browser.execute_script(MARKS, "lens_run", "Jobs ended")
    for name, field in (("good", "done"), ("bad", "failed")):
        drawn = {step: value for class_, step, value, _ in bars if class_ == name}
        assert drawn == {at: step[field] for at, step in enumerate(kind["steps"]) if step[field]}
    heights = {height / value for _, _, value, height in bars}
    assert max(heights) - min(heights) < 0.1, "bars are as high as their numbers"
    assert len(bars) == 4

    dots = browser.execute_script(MARKS, "lens_run", "Duration")
    assert [value for _, _, value, _ in dots] == [
        pytest.approx(step["duration"]["p50_ms"], rel=1e-4)
        for step in kind["steps"]
        if step["duration"]["p50_ms"] is not None
    ]
    calls = browser.execute_script(MARKS, "openai", "Calls")
    assert sum(value for _, _, value, _ in calls) == figures["providers"][0]["total"]["calls"] == 4
    loads = browser.execute_script(MARKS, "workers", "box:1")
    assert [value for _, _, value, _ in loads] == [
        pytest.approx(load, rel=1e-4) for load in figures["workers"][0]["loads"] if load
    ]


def test_hostile_text_is_shown_and_never_run(browser: Chrome, page: Path) -> None:
    show(browser, page)
    browser.execute_script("document.querySelector('details').open = true")
    messages = browser.execute_script(
        "return [...document.querySelectorAll('.message')].map(message => message.textContent)"
    )
    assert sorted(messages) == [
        "</script><script>alert(1)</script>",
        '<img src=x onerror=alert(2)> \N{REPLACEMENT CHARACTER} & "quoted"',
    ]
    assert browser.execute_script("return document.images.length + document.scripts.length") == 1
    assert browser.get_log("browser") == []


#: [width of the window, width of what is in it, height of the smallest word in a chart, paper, ink].
LOOKS = """
    document.querySelector('details').open = true;
    const style = getComputedStyle(document.body), root = document.documentElement;
    const words = [...document.querySelectorAll('.tick')].map(tick => tick.getBoundingClientRect().height);
    return [root.clientWidth, root.scrollWidth, Math.min(...words), style.backgroundColor, style.color]
"""


def brightness(colour: str) -> int:
    """Of `rgb(1, 2, 3)`, from 0 to 765."""
    return sum(map(int, colour[4:-1].split(",")))


def test_nothing_is_wider_than_the_window_and_text_stands_out(browser: Chrome, page: Path) -> None:
    for width, theme in itertools.product((360, 1440), ("light", "dark")):
        show(browser, page, width=width, theme=theme)
        window, content, smallest_word, paper, ink = browser.execute_script(LOOKS)
        assert content == window, f"horizontal scroll at {width} px"
        assert window > width - 20
        assert smallest_word >= 9
        assert abs(brightness(paper) - brightness(ink)) > 500
        assert (brightness(paper) > brightness(ink)) is (theme == "light")
        assert browser.get_log("browser") == []
