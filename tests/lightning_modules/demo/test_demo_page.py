"""The demo's page in a real browser, from disk: it computes what Python computes, and one can use it.

Command lines:
    python -m pytest -m slow -n 0 tests/lightning_modules/demo/test_demo_page.py
    DEMO_STUDY=runs/NAME DEMO_PICTURES=FOLDER python -m pytest ...      other nets; keeps pictures of the page

docs/demo.png is FOLDER/desktop-light.png of the study that docs/train.md names, in 128 colours.
"""

import io
import json
import os
import shutil
from base64 import b64decode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from small_nets import write_net, write_study_results

from datamodules import load_digits
from lightning_modules.demo.__main__ import main
from lightning_modules.demo.nets import load_net
from lightning_modules.models.base import PairModule
from lightning_modules.models.recipes import RECIPES, resolve
from lightning_modules.models.registry import MODULES
from lightning_modules.predict.handwriting import as_mnist
from lightning_modules.predict.inference import answer
from lightning_modules.predict.pictures import colours

pytestmark = pytest.mark.slow

WAIT = 60  # seconds at most; it takes a tenth of one where nothing else runs
WINDOWS = {"desktop": (1280, 960), "phone": (390, 844), "small phone": (320, 568)}

# Strokes from corner to corner, as shares of the field, from its middle.
STROKES = {
    1: [(0.05, -0.32), (-0.03, 0.32)],
    7: [(-0.22, -0.3), (0.22, -0.3), (0.08, 0.0), (-0.05, 0.33)],
}

SMALL = {"width": 8}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "early": ("cnn", "paper", {}),
    "two-trunks": ("cnn", "modern", SMALL),
    "shared": ("weight_sharing", "paper", {}),
    "latent": ("weight_sharing", "modern", SMALL),
    "labelled": ("auxiliary", "paper", {}),
    "deep": ("auxiliary", "modern", SMALL),
    "mlp": ("weight_sharing", "modern", SMALL | {"head": "mlp"}),
    "subtract": ("auxiliary", "paper", {"trunk": "clean", "head": "subtract"}),
    "argmax": ("auxiliary", "paper", {"trunk": "clean", "head": "argmax"}),
    "early-modern": ("cnn", "paper", SMALL | {"trunk": "modern", "pool": "average"}),
}


def program(*names: str) -> str:
    """Where one of these is; the test needs it."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, f"no {names[0]} on the PATH; on Debian: apt-get install chromium chromium-driver"
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
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
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page of the nets that are asked for."""
    study = tmp_path_factory.mktemp("page") / "study"
    shutil.copytree(small_study, study)
    write_study_results(study, [0.1, 0.2, 0.3], [False] * 3)  # auxiliary leads
    main([os.environ.get("DEMO_STUDY", str(study)), "--out", str(study / "duel.html")])
    return (study / "duel.html").as_uri()


def show(browser: Chrome, page: str, window: str = "desktop", scheme: str = "light") -> None:
    """Open a page in a window of some size and colours."""
    width, height = WINDOWS[window]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": window != "desktop"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page)


def random_net(kind: str) -> PairModule:
    """Two nets of a kind, with statistics as if they had been trained."""
    model, recipe, changes = KINDS[kind]
    nets = MODULES[model].from_settings(resolve(RECIPES[recipe], [model], changes)[model], [3, 4])
    random = torch.Generator().manual_seed(len(kind))
    nets(255 * torch.rand(50, 4, 14, 14, generator=random))
    for layer in nets.network.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for values, (low, high) in (
                (layer.running_mean, (-0.3, 0.3)),
                (layer.running_var, (0.2, 2.0)),
                (layer.weight.data, (0.5, 1.5)),
                (layer.bias.data, (-0.3, 0.3)),
            ):
                assert values is not None
                values.uniform_(low, high, generator=random)
    return nets.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_answers_as_python_does_for_each_kind_of_net(
    kind: str, browser: Chrome, tmp_path: Path
) -> None:
    checkpoint = write_net(tmp_path / "checkpoint.ckpt", random_net(kind))
    main([str(checkpoint), "--out", str(tmp_path / "duel.html")])
    show(browser, (tmp_path / "duel.html").as_uri())
    pairs = load_digits(None)[1].images[:40].view(20, 2, 14, 14)
    ask = """return arguments[0].map(pair => {
        const { greater, reads, views } = nets[0].answer(pair);
        return [greater, reads, views.map(view => [...view.at(-1).map.data])];
    })"""
    greater, reads, last = zip(*browser.execute_script(ask, pairs.flatten(2).tolist()), strict=True)
    model = load_net(checkpoint).model
    said, outputs = answer(model, pairs), model(pairs)
    np.testing.assert_allclose(greater, [one.greater for one in said], atol=1e-4)
    assert np.ptp(greater) > 1e-3
    assert [digits and tuple(digits) for digits in reads] == [one.digits for one in said]
    if outputs.digits is not None:
        np.testing.assert_allclose(last, outputs.digits[:, 0].detach(), atol=1e-4, rtol=1e-5)


def random_strokes(count: int) -> list[list[list[float]]]:
    """Drawings of one stroke, points (x, y) of the field's 280: sevens, ones and curves of all sizes."""
    random = np.random.default_rng(0)
    drawings = []
    for number in range(count):
        if number % 3 == 2:
            steps = random.normal(0, 1, (40, 2)).cumsum(0).cumsum(0)
            shape = (steps - steps.mean(0)) / np.abs(steps - steps.mean(0)).max() / 2
        else:
            shape = np.array(STROKES[7 if number % 3 else 1])
        turned = shape @ (np.eye(2) + random.normal(0, 0.15, (2, 2)))
        drawings.append((140 + random.uniform(-25, 25, 2) + turned * random.uniform(40, 330)).tolist())
    return drawings


def test_drawings_become_the_same_digits_as_in_python(browser: Chrome, page: str) -> None:
    show(browser, page)
    draw_all = """return arguments[0].map(points => {
        pads[0].clear();
        for (const point of points) pads[0].line(point);
        let seen;
        try { seen = asMnist(pads[0].drawing()) ?? "no digit"; } catch (error) { seen = error.message; }
        return [pads[0].paper.toDataURL("image/png").split(",")[1], seen];
    })"""
    drawings = [[], [[140.0, 140.0]], *random_strokes(60)]
    for number, (png, seen) in enumerate(browser.execute_script(draw_all, drawings)):
        with Image.open(io.BytesIO(b64decode(png))) as image:
            picture = colours(image)
        if isinstance(seen, str):
            with pytest.raises(ValueError, match=seen):
                as_mnist(picture)
        else:
            np.testing.assert_allclose(seen, as_mnist(picture).ravel(), atol=1e-4 * 255, err_msg=str(number))


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


def press(browser: Chrome, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    ActionChains(browser, duration=0).send_keys(*keys).perform()


def focused(browser: Chrome) -> str:
    """The name of what has the focus."""
    element = browser.switch_to.active_element
    return element.get_attribute("aria-label") or element.text


def text(browser: Chrome, place: str) -> str:
    return browser.execute_script(f"return document.querySelector({place!r}).innerText")


def cards(browser: Chrome) -> dict[str, str]:
    """The text of each net's card."""
    items = browser.find_elements(By.CSS_SELECTOR, "#nets li")
    return {item.find_element(By.TAG_NAME, "h3").text: item.text for item in items}


def wait_for(browser: Chrome, *texts: str) -> None:
    """Wait until the verdict says so."""
    waiting = WebDriverWait(browser, WAIT, poll_frequency=0.05)
    waiting.until(lambda _: all(one in text(browser, "#verdict") for one in texts), f"never said {texts}")


def requested(browser: Chrome) -> list[str]:
    """Addresses that the page has asked for anything."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent: list[dict[str, Any]] = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in sent]


def test_one_draws_and_all_nets_answer_without_a_network(browser: Chrome, page: str) -> None:
    for kind in ("performance", "browser"):
        browser.get_log(kind)  # what was before
    show(browser, page)
    wait_for(browser, "Draw a digit in each field.")
    draw(browser, "left", 7)
    wait_for(browser, "Now draw a digit on the right.")
    draw(browser, "right", 1)
    wait_for(browser, "left is larger")
    said = cards(browser)
    assert {"cnn", "auxiliary"} <= said.keys()
    assert all("right or equal" in card for card in said.values())
    assert "reads 7 and 1" in said["auxiliary"]
    assert "reads" not in said["cnn"]
    browser.find_element(By.CSS_SELECTOR, ".pad.left button").click()
    wait_for(browser, "Now draw a digit on the left.")
    assert not any("right or equal" in card for card in cards(browser).values())
    draw(browser, "left", 1)
    wait_for(browser, "right is larger, or equal")
    assert all(url.startswith((page, "data:")) for url in requested(browser))
    assert browser.get_log("browser") == []  # nothing was refused, no script failed


def test_two_digits_in_a_field_have_no_answer(browser: Chrome, page: str) -> None:
    show(browser, page)
    for x in (50, 230):
        browser.execute_script("pads[0].last = null; pads[0].line([arguments[0], 60])", x)
        browser.execute_script("pads[0].line([arguments[0], 220]); update()", x)
    wait_for(browser, "Left: it shows 2 digits")
    press(browser, Keys.TAB, "3")
    wait_for(browser, "Now draw")


def test_the_keyboard_alone_enters_digits_and_a_hard_pair(browser: Chrome, page: str) -> None:
    show(browser, page)
    press(browser, Keys.TAB, "7")
    assert "Left field" in focused(browser)
    wait_for(browser, "Now draw a digit on the right.")
    press(browser, Keys.TAB, Keys.TAB, "1")
    assert "Right field" in focused(browser)
    wait_for(browser, "left is larger")
    seen = "return pads.map(pad => pad.look())"
    first, second = browser.execute_script(seen)
    _, test = load_digits(None)
    for pixels, label in ((first, 7), (second, 1)):
        is_this = (test.images.flatten(1) == torch.tensor(pixels)).all(1)
        assert test.labels[is_this].tolist() == [label]  # a test digit, to the bit
    press(browser, "1")
    assert browser.execute_script(seen)[1] != second
    press(browser, Keys.DELETE)
    wait_for(browser, "Now draw a digit on the right.")
    press(browser, Keys.TAB, Keys.TAB)
    assert focused(browser) == "A hard pair"
    press(browser, Keys.SPACE)
    assert "Wrong: " in text(browser, "#source")
    assert any("wrong" in card for card in cards(browser).values())
    press(browser, Keys.TAB)
    assert focused(browser).startswith("Inside ")


def test_screen_readers_hear_answers_and_pictures(browser: Chrome, page: str) -> None:
    show(browser, page)
    press(browser, Keys.TAB, "7", Keys.TAB, Keys.TAB, "1")
    for place in ("#verdict", "#source"):
        assert browser.find_element(By.CSS_SELECTOR, place).get_attribute("role") == "status"
    pictures = browser.find_elements(By.CSS_SELECTOR, "canvas, [role=img]")
    names = [picture.get_attribute("aria-label") or "" for picture in pictures]
    assert all(names)
    assert any("left: most likely 7" in name for name in names)
    assert any("Table of products; those where left is larger add up to" in name for name in names)
    assert any("maps of" in name for name in names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", WINDOWS)
def test_the_fields_stand_side_by_side_in_every_window(
    window: str, scheme: str, browser: Chrome, page: str
) -> None:
    show(browser, page, window, scheme)
    draw(browser, "left", 7)
    draw(browser, "right", 1)
    wait_for(browser, "left is larger")
    if folder := os.environ.get("DEMO_PICTURES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"{window}-{scheme}".replace(" ", "-")
        assert browser.find_element(By.TAG_NAME, "body").screenshot(f"{folder}/{name}.png")
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    width, _ = WINDOWS[window]
    page_width = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert page_width == [width, width]  # a phone would make the page smaller rather than cut it
    left, right = (field.rect for field in browser.find_elements(By.CSS_SELECTOR, ".paper"))
    assert left["y"] == right["y"]
    assert left["width"] == right["width"] == pytest.approx(left["height"], abs=1)
    assert left["x"] + left["width"] < right["x"]
    assert left["width"] >= (140 if width > 320 else 110)
    for button in browser.find_elements(By.TAG_NAME, "button"):
        assert button.rect["x"] + button.rect["width"] <= width
        assert button.rect["height"] >= 44  # of a finger
