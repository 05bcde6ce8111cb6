"""The report in a browser, as a person has it: light and dark, on a phone, by keyboard, offline; and what it draws."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import browser
from tests.faults.hostile import HOSTILE, MARKUP, RAN, RUN
from tests.report import pages

__all__ = ["browser"]

Open = Callable[..., Page]
# How much wider a chart's place is than the chart.
SPARE = (
    "document.querySelector('.plot').clientWidth - document.querySelector('.plot > svg').getBoundingClientRect().width"
)
SIZES = [("light", 1280), ("dark", 1280), ("light", 360)]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """`opened(html)`: a page that says nothing to the console, and asks for nothing but itself."""
    troubles: list[str] = []
    contexts = []

    def show(html: str, scheme: str = "light", width: int = 1280, **options: object) -> Page:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]  # Playwright's own words
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url == path.as_uri() or troubles.append(request.url))
        context.route(lambda url: url != path.as_uri(), lambda route: route.abort())
        page.goto(path.as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def html() -> str:
    return pages.page()


def bars(page: Page, kind: str) -> int:
    return page.locator(
        f"figure[data-chart={kind}] .plot > svg g[aria-label=rect]:not(.pauses) :is(rect, path)"
    ).count()


def wide(page: Page) -> int:
    """How much wider than the window the page is."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_it_fits_and_draws(opened, html, scheme, width):
    page = opened(html, scheme, width)
    assert wide(page) <= 0
    assert page.locator(".plot > svg").count() == 4 + 4, "one for each of four statuses"
    for box in page.locator(".plot > svg").all():
        size = box.bounding_box()
        assert size is not None
        assert size["width"] > width * 0.5
        assert size["x"] >= 0
        assert size["x"] + size["width"] <= width
    ink, ground = page.evaluate(
        "(() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor] })()"
    )
    assert (sum(map(int, re.findall(r"\d+", ink))) > sum(map(int, re.findall(r"\d+", ground)))) == (scheme == "dark")


def test_the_bars_are_the_numbers(opened, html):
    page = opened(html)
    times = pages.years()
    assert times is not None
    assert bars(page, "times") == sum(
        bool(a + b) for one in times.series for a, b in zip(one.new, one.known, strict=True)
    )
    assert bars(page, "hours") == 24
    samples = pages.course().samples()
    assert bars(page, "speed") == len(samples)
    assert bars(page, "answers") == sum(len([n for n in one.answers.values() if n]) for one in samples)
    assert page.locator("figure[data-chart=latency] .plot > svg g[aria-label=line] path").count() == 2
    for kind, charts in (("speed", 1), ("latency", 1), ("answers", 4)):
        assert page.locator(f"figure[data-chart={kind}] g.pauses rect").count() == 2 * charts


def test_a_name_and_a_state_can_be_seen_alone(opened, html):
    page = opened(html)
    times = pages.years()
    assert times is not None
    keys = page.get_by_role("group", name="Event names")
    button = keys.get_by_role("button", name="Order Cancelled")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert bars(page, "times") == 30
    page.get_by_role("button", name="known from earlier runs").click()
    (cancelled,) = (one for one in times.series if one.name == "Order Cancelled")
    assert bars(page, "times") == len([n for n in cancelled.known if n]) == 17
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert bars(page, "times") == sum(bool(n) for one in times.series for n in one.known)


def test_thirteen_names_look_different(opened):
    page = opened(pages.page(times=pages.many_names(), course=None))
    fills = page.locator("figure[data-chart=times] .keys button svg rect").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    assert len(fills) == len(set(fills)) == 13
    assert page.locator("pattern").count() == 6


def test_it_is_drawn_anew_when_the_window_changes(opened, html):
    page = opened(html)
    for width in (360, 800):
        page.set_viewport_size({"width": width, "height": 900})
        # Not `wait_for_function`, which the page's own policy keeps from trying again.
        end = time.monotonic() + 20
        while abs(page.evaluate(SPARE)) >= 2:
            assert time.monotonic() < end
            page.wait_for_timeout(20)
        assert wide(page) <= 0


def test_the_search_filters(opened, html):
    page = opened(html)
    box = page.get_by_label("Search problems")
    shown = page.locator(".problem:visible")
    assert shown.count() == 3
    box.fill("12,5")
    assert shown.count() == 1
    assert page.locator(".problem li:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 3 problems"
    box.fill("ORDERS.CSV")
    assert shown.count() == 3
    box.fill("no such thing")
    assert shown.count() == 0
    box.fill("")
    assert shown.count() == 3
    assert page.locator(".problem li:visible").count() == 5


def test_the_keyboard_reaches_everything(opened, html):
    page = opened(html)
    # The last problem is shut first, and opened again by the keyboard alone.
    page.evaluate("document.querySelectorAll('.problem')[2].open = false")
    reached, rings = [], set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, ring = page.evaluate(
            "(() => { const one = document.activeElement; return [one.tagName + ' ' + (one.id || one.textContent.trim()),"
            " getComputedStyle(one).outlineStyle] })()"
        )
        if name.startswith("BODY"):
            break
        reached.append(name)
        rings.add(ring)
        if name.startswith("SUMMARY 2 a time in the future"):
            page.keyboard.press("Enter")
        if name.startswith("SUMMARY Events a month"):
            page.keyboard.press("Space")
    assert rings == {"solid"}, "what has the focus is seen"
    for wanted in (
        "BUTTON all",
        "BUTTON Order Cancelled",
        "SUMMARY Events by hour",
        "INPUT search",
        "SUMMARY The run as a table",
    ):
        assert any(name.startswith(wanted) for name in reached), wanted
    assert page.evaluate("document.querySelectorAll('.problem')[2].open")
    assert page.get_by_role("region", name="Events a month").is_visible()


def test_without_scripts_all_is_there(opened, html):
    page = opened(html, java_script_enabled=False)
    assert page.locator("noscript p").is_visible()
    assert page.locator("svg").count() == 0
    assert page.locator(".plot:visible, .search:visible").count() == 0
    assert page.get_by_text('value "N/A" in column').is_visible()
    page.get_by_text("Events a month as a table").click()
    assert (
        page.get_by_role("cell", name="2022-01-01")
        .or_(page.get_by_role("rowheader", name="2022-01-01"))
        .first.is_visible()
    )


def test_on_paper_and_without_motion(opened, html):
    page = opened(html, "dark", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.evaluate("getComputedStyle(document.querySelector('.keys button')).transitionDuration") == "0s"
    page.emulate_media(media="print")
    assert wide(page) <= 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_label("Search problems").is_visible()


def test_what_the_pointer_is_told_can_be_read(opened, html):
    """Also in the dark, where Plot by itself would show it white on white."""
    page = opened(html, "dark")
    for kind in ("times", "latency"):
        plot = page.locator(f"figure[data-chart={kind}] .plot > svg").first
        plot.hover(position={"x": 400, "y": 60})
        tip = plot.locator("g[aria-label=tip] path").first
        tip.wait_for(state="attached")
        ground = tip.evaluate("one => getComputedStyle(one).fill")
        ink = plot.locator("g[aria-label=tip] text").first.evaluate("one => getComputedStyle(one).fill")
        lightness = [sum(map(int, re.findall(r"\d+", colour))) for colour in (ink, ground)]
        assert abs(lightness[0] - lightness[1]) > 400, (kind, ink, ground)


@pytest.mark.parametrize("policy", [True, False], ids=["with its policy", "without its policy"])
def test_hostile_names_stay_names(opened, policy):
    """In charts, keys and tables; without the policy, which would stop what got through, too."""
    examples = [{"place": text, "column": text, "value": text, "detail": text} for text in HOSTILE[:5]]
    html = pages.page(
        pages.told(
            by_event_name={text: {"accepted": 1} for text in HOSTILE},
            notices=[{"code": "unset", "field": text, "count": 1} for text in HOSTILE],
        ),
        [{"code": text, "count": 9, "title": text, "fix": text, "examples": examples} for text in HOSTILE],
        times=pages.times_of([(text, pages.START) for text in HOSTILE[:12] for _ in range(3)]),
    )
    if not policy:
        html = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", html)
    page = opened(html)
    page.get_by_label("Search problems").fill("script")
    for button in page.locator(".keys button").all()[::4]:
        button.click()
    assert bars(page, "times") > 0
    plot = page.locator("figure[data-chart=times] .plot svg").bounding_box()
    assert plot is not None
    page.mouse.move(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] - 60)
    assert page.evaluate(f"document.documentElement.hasAttribute('{RAN}')") is False
    assert page.locator("script").count() == 3
    assert page.locator("img, iframe, base, object, embed, form, a, meta[http-equiv=refresh]").count() == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(one => [...one.attributes]).filter(one => one.name.startsWith('on')).length"
        )
        == 0
    )
    assert MARKUP[0] in page.inner_text("main")


def test_the_policy_stops_what_would_get_through(browser, tmp_path):
    """Else the test above could pass because nobody looks."""
    for removed, ran in ((False, False), (True, True)):
        html = pages.page(times=None, course=None).replace("</h1>", "</h1>" + "".join(MARKUP))
        if removed:
            html = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", html)
        path = tmp_path / "broken.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_page()
        page.goto(path.as_uri())
        assert page.evaluate(f"document.documentElement.hasAttribute('{RAN}')") is ran, RUN
        page.close()
