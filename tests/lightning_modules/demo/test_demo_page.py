"""The demo's page in a real browser: one draws, the nets answer.

Command lines:
    python -m pytest -m slow -n 0 tests/lightning_modules/demo/test_demo_page.py
    DEMO_STUDY=runs/NAME DEMO_PICTURES=FOLDER python -m pytest ...      other nets; keeps pictures of the page

docs/demo.png is FOLDER/desktop-light.png of the study that `python train.py --runs 3` leaves,
in 128 colours.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WAIT = 60  # seconds at most; it takes a tenth of one where nothing else runs
WINDOWS = {"desktop": (1280, 800), "phone": (390, 844), "small phone": (375, 667)}

# Strokes from corner to corner, as shares of the field, from its middle.
STROKES = {
    1: [(0.05, -0.32), (-0.03, 0.32)],
    7: [(-0.22, -0.3), (0.22, -0.3), (0.08, 0.0), (-0.05, 0.33)],
}


def program(*names: str) -> str:
    """Where one of these is; the test needs it."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"no {names[0]} on the PATH; on Debian: apt-get install chromium chromium-driver"
    return found


@pytest.fixture(scope="module")
def address(small_study: Path) -> Iterator[str]:
    """Of the page of a real process."""
    nets = os.environ.get("DEMO_STUDY", str(small_study))
    command = [sys.executable, "-m", "lightning_modules.demo", nets, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield next(line.split()[2] for line in process.stdout if line.startswith("draw at"))
        process.terminate()


@pytest.fixture
def browser(address: str, request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """The page in a window of the size and colours that the test is given."""
    window, colours = getattr(request, "param", ("desktop", "light"))
    options = ChromeOptions()
    options.binary_location = program("chromium", "chromium-browser", "google-chrome")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--hide-scrollbars",
        "--disable-background-networking",
    ):
        options.add_argument(argument)  # a root, as in a container, has no sandbox
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = Chrome(options=options, service=Service(program("chromedriver")))
    try:
        width, height = WINDOWS[window]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": window != "desktop"}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": colours}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        driver.get(address)
        yield driver
    finally:
        driver.quit()


def draw(browser: Chrome, side: str, digit: int) -> None:
    field = browser.find_element(By.CSS_SELECTOR, f".pad.{side} .paper canvas")
    width = field.size["width"]
    points = [(round(x * width), round(y * width)) for x, y in STROKES[digit]]
    hand = ActionChains(browser, duration=30)
    hand.move_to_element_with_offset(field, *points[0]).click_and_hold()
    for (x, y), (next_x, next_y) in pairwise(points):
        for step in range(1, 5):
            at = (x + (next_x - x) * step // 4, y + (next_y - y) * step // 4)
            hand.move_to_element_with_offset(field, *at)
    hand.release().perform()


def answers(browser: Chrome) -> list[str]:
    """The text of each net's card, a line for each part."""
    return browser.execute_script("return [...document.querySelectorAll('#nets li')].map(x => x.innerText)")


def verdict(browser: Chrome) -> str:
    return browser.execute_script("return document.querySelector('#verdict').textContent")


def wait_for(browser: Chrome, text: str) -> None:
    waiting = WebDriverWait(browser, WAIT, poll_frequency=0.05)
    waiting.until(lambda _: text in verdict(browser), f"never said {text!r}, but {verdict(browser)!r}")


def settle(browser: Chrome, *texts: str) -> None:
    """Wait until a card says so: what is asked while one draws is answered before what is asked last."""
    waiting = WebDriverWait(browser, WAIT, poll_frequency=0.05)
    waiting.until(lambda _: any(all(t in card for t in texts) for card in answers(browser)), f"never {texts}")


def picture(browser: Chrome, name: str) -> None:
    """Keep a picture of the page, where it was asked for."""
    if folder := os.environ.get("DEMO_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        assert browser.find_element(By.TAG_NAME, "body").screenshot(str(Path(folder) / f"{name}.png"))


def requested(browser: Chrome) -> list[str]:
    """Addresses that the page has asked for anything."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent: list[dict[str, Any]] = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in sent]


def test_one_draws_and_all_nets_answer(browser: Chrome, address: str) -> None:
    wait_for(browser, "Draw a digit in each field.")
    assert len(answers(browser)) >= 2
    draw(browser, "left", 7)
    wait_for(browser, "Now draw a digit on the right.")
    draw(browser, "right", 1)
    settle(browser, "auxiliary", "left", "right or equal", "reads 7 and 1")
    shares = [card.count("%") for card in answers(browser)]
    assert shares == [2] * len(shares)
    (card,) = (card for card in answers(browser) if "reads 7 and 1" in card)
    left = float(card.split("left")[1].split("%")[0].strip(" <>"))
    assert left > 50
    assert sum("reads" in card for card in answers(browser)) == sum(
        "auxiliary" in c for c in answers(browser)
    )
    clear = browser.find_element(By.CSS_SELECTOR, ".pad.left button")
    clear.send_keys(Keys.ENTER)  # as one does without a mouse
    wait_for(browser, "Now draw a digit on the left.")
    assert browser.find_element(By.CSS_SELECTOR, ".pad.left .paper p").is_displayed()
    assert not any("%" in card for card in answers(browser))
    draw(browser, "left", 1)
    settle(browser, "auxiliary", "reads 1 and 1")
    asked = requested(browser)
    assert asked.count(f"{address}answer") >= 4
    assert all(url.startswith((address, "data:")) for url in asked)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    "browser", [(w, c) for w in WINDOWS for c in ("light", "dark")], indirect=True, ids="-".join
)
def test_the_fields_stand_side_by_side_in_every_window(
    browser: Chrome, request: pytest.FixtureRequest
) -> None:
    draw(browser, "left", 7)
    draw(browser, "right", 1)
    settle(browser, "auxiliary", "reads 7 and 1")
    picture(browser, request.node.callspec.id.replace(" ", "-"))
    width, _ = WINDOWS[request.node.callspec.params["browser"][0]]
    page = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert page == [width, width]  # a phone would make the page smaller rather than cut it
    fields = browser.find_elements(By.CSS_SELECTOR, ".paper")
    left, right = (field.rect for field in fields)
    assert left["y"] == right["y"]
    assert left["width"] == right["width"] == pytest.approx(left["height"], abs=1)
    assert left["x"] + left["width"] < right["x"]
    assert left["width"] >= 140
    for button in browser.find_elements(By.TAG_NAME, "button"):
        assert button.rect["x"] + button.rect["width"] <= width
        assert button.rect["height"] >= 44  # of a finger
