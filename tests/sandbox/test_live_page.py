"""The page in a browser: events appear while they arrive, and a person finds their way among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from backfill.sandbox import Faults, SandboxThread
from tests.browser import browser
from tests.faults.hostile import HOSTILE, RAN, hidden

__all__ = ["browser"]

pytestmark = pytest.mark.slow

SINGLE = "/stores/s1/events"
NARROW = {"width": 360, "height": 740}
Send = Callable[..., httpx.Response]


@pytest.fixture
def box(start) -> SandboxThread:
    return start()


@pytest.fixture
def send(box, connect) -> Send:
    client = connect(box)

    def post(*events: Any, store: str = "s1") -> httpx.Response:
        if len(events) == 1:
            return client.post(f"/stores/{store}/events", json=events[0])
        return client.post(f"/stores/{store}/events/bulk", json={"events": events})

    return post


@pytest.fixture
def page(browser: Browser, box) -> Iterator[Page]:
    """An open page, whose console must stay empty and which must ask no other host."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(locale="de-DE", timezone_id="America/New_York")
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    # Of an answer that is 404 the browser speaks by itself; the page shows it.
    opened.on("console", lambda message: "status of 404" in message.text or said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    context.close()
    assert said == []
    assert all(url.startswith(box.page_url) for url in asked)


def order(number: int, **more: Any) -> dict[str, Any]:
    return {
        "eventName": "Order Placed",
        "uniqueId": f"order:{number}",
        "eventTimestamp": f"2024-0{number}-05T14:02:00Z",
        "customer": {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"},
        "value": 59.9,
        "valueCurrency": "USD",
        "data": {
            "Order ID": str(number),
            "Discount": 0,
            "Paid At": "2024-03-05T14:05:00Z",
            "$extra": {"Items": [{"Title": "Linen shirt", "Quantity": 2}, {"Title": "Oak tray", "Quantity": 1}]},
        },
    } | more


def go(page: Page, place: str) -> None:
    """To another place of the open page, once it is shown."""
    page.evaluate("(place) => (location.hash = place)", f"#/{place}")
    expect(page.locator("main")).to_have_attribute("data-shown", f"#/{place}" if place else re.compile("^(#/)?$"))


def figure(page: Page, label: str) -> str:
    return page.locator(".figures > div", has_text=label).locator("dd").first.inner_text()


def test_events_appear_while_they_arrive(page, box, send):
    page.goto(box.page_url)
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text(f"backfill run orders.yaml --base-url {box.base_url}")
    page.evaluate("window.opened = true")  # a reload would forget it
    send(order(1))
    expect(page.locator(".figures dd").first).to_have_text("1")
    expect(page.locator("svg.plot rect")).to_have_count(1)
    expect(page.locator(".rows li")).to_have_count(1)
    send(*[order(i) for i in range(2, 8)], order(8, eventName="Order Refunded"))
    expect(page.locator(".figures dd").first).to_have_text("8")
    expect(page.locator("svg.plot rect")).to_have_count(8)
    expect(page.locator(".legend li")).to_have_count(2)
    expect(page.locator(".status")).to_contain_text(re.compile(r"Receiving \d+ events? a second"))
    assert page.evaluate("window.opened") is True
    assert figure(page, "Customers") == "1"
    assert figure(page, "Unset values") == "8"
    expect(page.locator(".worth tbody tr").first).to_have_text("Order Placed419.30 USD7")
    expect(page.locator("header")).to_contain_text("All times are in UTC")
    assert page.locator("svg.plot").get_attribute("aria-label") == "Events over time, by week in UTC"
    # Spoken are the totals, seldom; not each of them.
    assert page.locator("[aria-live]").count() == 1


def test_the_chart_says_its_numbers(page, box, send):
    send(*[order(i) for i in range(1, 4)])
    page.goto(box.page_url)
    page.get_by_text("The numbers").click()
    table = page.locator(".numbers table")
    expect(table.locator("tbody tr").first).to_have_text("5 Jan 20241")
    page.locator("svg.plot").hover(position={"x": 300, "y": 150})
    page.locator(".legend a").click()
    expect(page).to_have_url(re.compile(r"#/\?name=Order\+Placed$"))
    expect(page.locator("#name")).to_have_value("Order Placed")


def test_a_customers_timeline(page, box, send):
    send(*[order(i) for i in (3, 1, 2)])
    send({"eventName": "Points Earned", "customer": {"email": "ada@example.com", "location": {"countryCode": "GB"}}, "eventTimestamp": "2023-01-01T00:00:00+05:00"})  # fmt: skip
    page.goto(box.page_url + "#/customers")
    page.get_by_role("link", name="Ada Lovelace").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")
    expect(page.locator(".timeline h3")).to_have_text(["March 2024", "February 2024", "January 2024", "December 2022"])
    newest = page.locator(".timeline li").first
    expect(newest.locator(".money")).to_have_text("59.90 USD")
    expect(newest.locator(".when")).to_contain_text("5 Mar 2024, 14:02 UTC")
    expect(newest.locator("dl.fields").first).to_contain_text("Order ID")
    expect(newest.locator("dl.fields").first).not_to_contain_text("Items")
    expect(newest.locator(".unset")).to_contain_text(re.compile("Discount.*0.*unset", re.DOTALL))
    expect(newest.locator(".extra th")).to_have_text(["Title", "Quantity"])
    expect(newest.locator(".extra td").first).to_have_text("Linen shirt")
    expect(page.locator(".card")).to_contain_text("Country code")
    expect(page.locator(".card")).to_contain_text("ada@example.com")
    # One more arrives: it is offered, and does not push away what is being read.
    send(order(4))
    page.get_by_role("button", name="1 new event: show").click()
    expect(page.locator(".timeline h3").first).to_have_text("April 2024")


def test_long_timelines_have_a_button_for_more(page, box, send):
    send(*[order(1, uniqueId=str(i), eventTimestamp=f"2024-01-01T00:{i % 60:02}:{i // 60:02}Z") for i in range(60)])
    page.goto(box.page_url + "#/customers/1")
    expect(page.locator(".timeline li")).to_have_count(50)
    page.get_by_role("button", name="Show older events").click()
    expect(page.locator(".timeline li")).to_have_count(60)
    expect(page.get_by_role("button", name="Show older events")).to_be_hidden()


def test_search_deep_links_and_back(page, box, send):
    people = [("Ada", "ada@example.com"), ("Grace", "grace@example.com"), ("Linus", "linus@example.com")]
    send(*[order(i, customer={"email": email, "firstName": name}) for i, (name, email) in enumerate(people, 1)])
    page.goto(box.page_url + "#/customers")
    expect(page.locator(".rows li")).to_have_count(3)
    page.get_by_label("Find by email, phone, name or id").fill("GRA")
    expect(page.locator(".rows li")).to_have_count(1)
    expect(page.get_by_text("1 customer found")).to_be_visible()
    page.get_by_role("link", name="Grace").click()
    expect(page).to_have_url(re.compile(r"#/customers/2$"))
    expect(page).to_have_title("Grace · backfill sandbox")
    page.get_by_role("link", name="JSON of event 2").click()
    expect(page.locator(".facts")).to_contain_text("order:2")
    expect(page.locator(".facts")).to_contain_text("number 2 of 3 events in a bulk request")
    assert '"uniqueId": "order:2"' in page.locator(".code pre").inner_text()
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Find by email, phone, name or id")).to_have_value("GRA")
    expect(page.locator(".rows li")).to_have_count(1)
    # A link from outside leads to the same place.
    page.goto("about:blank")
    page.goto(box.page_url + "#/events/3")
    expect(page.locator(".facts")).to_contain_text("linus@example.com".partition("@")[0].title())
    page.goto(box.page_url + "#/events/99")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_link_followed_while_one_types_is_followed(page, box, send):
    """What was typed is looked up after a moment; who has left by then is not called back."""
    send(*[order(i) for i in range(1, 4)])
    page.goto(box.page_url + "#/customers")
    page.get_by_label("Find by email, phone, name or id").evaluate(
        "box => { box.value = 'ada'; box.dispatchEvent(new Event('input')); location.hash = '#/customers/1'; }"
    )
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    page.wait_for_timeout(400)  # longer than the moment
    expect(page).to_have_url(re.compile(r"#/customers/1$"))
    page.go_back()
    expect(page.get_by_label("Find by email, phone, name or id")).to_have_value("ada")


def test_not_found_is_an_answer(page, box):
    page.goto(box.page_url + "#/nowhere")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_duplicates_beside_each_other(page, box, send):
    first = order(1)
    changed = order(1, value=12, data=first["data"] | {"Order ID": "1b", "New": True})
    for sent in (first, first, changed):
        assert send(sent).status_code == 202
    page.goto(box.page_url + "#/duplicates")
    expect(page.locator(".rows li")).to_have_count(2)
    expect(page.locator(".rows .tag")).to_have_text(["dropped, other content", "dropped, same content"])
    page.get_by_role("link", name="With other content").click()
    expect(page.locator(".rows li")).to_have_count(1)
    page.locator(".rows a.main").click()
    expect(page.get_by_text("3 fields of")).to_be_visible()
    rows = page.locator(".compare tr.differs")
    expect(rows.locator("th")).to_have_text(["data.New", "data.Order ID", "value"])
    expect(rows.nth(2).locator("del")).to_have_text("59.9")
    expect(rows.nth(2).locator("ins")).to_have_text("12")
    expect(rows.nth(0)).to_contain_text("not there")
    expect(page.locator(".compare th", has_text="uniqueId")).to_be_hidden()
    page.get_by_role("button", name=re.compile("Show .* fields that are the same")).click()
    expect(page.locator(".compare tr:not(.differs) th", has_text="uniqueId")).to_be_visible()
    page.get_by_role("link", name="Kept").click()
    expect(page.get_by_role("heading", name="Dropped for it")).to_be_visible()


def test_what_was_refused_and_why(page, box, send):
    send(order(1))
    send(order(2, customer={"email": "nobody"}))
    send(order(3), order(4, value="12"))
    page.goto(box.page_url)
    expect(page.locator(".figures > div", has_text="Refused")).to_contain_text("1 held back with them")
    page.get_by_role("link", name=re.compile("^Refused")).first.click()
    expect(page.locator(".reason h2")).to_have_text(
        ["customer.email: is not an email address", "value: is not a number"]
    )
    page.locator(".example summary").first.click()
    expect(page.locator(".example").first.locator("pre")).to_contain_text('"email": "nobody"')
    expect(page.locator(".example summary").nth(1)).to_contain_text("in bulk")


def test_unset_values_faults_and_stores(page, box, send):
    box.set_faults(Faults.parse("latency=5"))
    send(order(1))
    send(order(2, eventName="Other"), store="s2")
    page.goto(box.page_url + "#/unset")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("Discount")
    expect(page.locator(".faults")).to_contain_text("latency=5")
    page.get_by_label("Store").select_option("s2")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("navigation").get_by_role("link", name=re.compile("^Events")).click()
    expect(page.locator(".rows li")).to_have_count(1)
    expect(page.locator(".rows li")).to_contain_text("Other")


HASHES = ["", "customers", "customers/1", "events", "events/1", "events/2", "duplicates", "refused", "unset"]


def test_hostile_names_and_values_are_inert(page, box, send):
    texts = [text for text in HOSTILE if "\0" not in text]
    values = {f"{i}{text}"[:2000]: text for i, text in enumerate(texts)} | {"__proto__": "x", "zero": 0}
    for i, text in enumerate(texts):
        sent = order(
            1,
            eventName=text,
            uniqueId=f"{i}{text}"[:255],
            customer={"email": "ada@example.com", "firstName": text, "lastName": text, "customFields": values},
            data=values | {"$extra": {**values, "list": [{text: text}], "deep": [[text], {text: [text]}]}},
        )
        assert send(sent, store=f"s{i % 3}%3Cb%3E").status_code == 202
        send(
            sent | {"data": {text: "other"}, "customer": {"id": text, "email": "ada@example.com"}},
            store=f"s{i % 3}%3Cb%3E",
        )
        send(order(1, eventName=text, customer={text: text}))
    own = "html|head|body|meta|title|link|script|noscript|header|main|nav|section|svg|g|path|rect|text|tspan|line|style|defs"
    own += "|div|p|a|ul|ol|li|dl|dt|dd|h1|h2|h3|h4|span|bdi|code|pre|table|thead|tbody|tr|th|td|caption|time|details|summary"
    own += "|label|select|option|input|button|del|ins|clippath"
    page.goto(box.page_url)
    for place in HASHES:
        go(page, place)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        tags = set(
            page.evaluate("[...new Set([...document.querySelectorAll('*')].map((one) => one.localName.toLowerCase()))]")
        )
        assert tags <= set(own.split("|"))
        assert page.evaluate("document.scripts.length") == 2
        assert page.evaluate("[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames()).filter((one) => /^on|^srcdoc$/.test(one))") == []  # fmt: skip
        assert page.evaluate(f"document.documentElement.hasAttribute('{RAN}')") is False
        shown = page.locator("body").inner_text()
        assert hidden(shown, "\n\t") == []
        assert "<script>" in shown or "<img " in shown
        assert "\\u{202e}" in shown or place in {"events/1", "events/2"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(page, box, send, scheme):
    send(*[order(i) for i in range(1, 6)])
    send(order(1, value=3, data={"A name of a field without a break" * 4: "x" * 3000}))
    send(order(9, customer={"email": "nobody"}, eventName="Y" * 300))
    send(order(6, eventName="Z" * 300, uniqueId="u" * 255, customer={"email": f"{'long' * 15}@example.com"}))
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(NARROW)
    page.goto(box.page_url)
    for place in [*HASHES, "events/6", "customers/2"]:
        go(page, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], place
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")


def test_the_keyboard_alone_will_do(page, box, send):
    send(order(1))
    page.goto(box.page_url)
    expect(page.locator(".rows li")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_contain_text("Customers")
    assert focused.evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/customers$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Customers")
    expect(page.locator("main")).to_be_focused()


def test_without_scripts_there_are_tables(browser, box, send):
    send(order(1))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(box.page_url)
    assert page.locator("table").count() >= 3
    assert "order:1" in page.locator("body").inner_text()
    context.close()
