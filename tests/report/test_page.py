"""What the page says, read as text: without scripts nothing is missing, and nothing that is hostile gets out."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from backfill.charts import csp_source
from tests.faults.hostile import HOSTILE, MARKUP, hidden
from tests.report import pages

VOID = {"meta", "input", "br"}


class Reader(HTMLParser):
    """The page's elements, and its text without scripts and style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)
        self.close()
        assert self._inside == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "script":
            self.scripts[-1] += data
        elif self._inside and self._inside[-1] != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Reader:
    return Reader(pages.page())


def test_all_is_told_without_scripts(page):
    for words in (
        "4,085 events accepted, 1,210 rejected", "Exit status 3", "done, and some rows or events were rejected",
        "64e5a8a1af49a89df37e4ee7", "2024-07-01 02:00:00 UTC, took 10 min", "6,209", "the API answered 202",
        "from 2022-01-03 to 2024-06-20 (America/New_York)", "Order Cancelled", "2 events in the future",
        'value "N/A" in column "total": not a number', "orders.csv:1203", "And 1,201 more in rejected.csv",
        "data.Shipping", "order:2", "45,120 requests", "16 answered 429", "Sending paused 2 times, 42 s together",
        "the API is out of reach (connection refused: <b>)", "429 too many requests", "Charts need JavaScript",
        'utf-8, comma, quote ", header',
    ):  # fmt: skip
        assert words in page.text
    assert all("open" in attrs for attrs in page.of("details") if attrs.get("class") == "problem")


def test_the_tables_hold_the_numbers_of_the_charts(page):
    data = json.loads(page.scripts[0])
    months = data["times"]["series"]
    assert [one["name"] for one in months] == ["Order Placed", "Review Written <b>&", "Order Cancelled"]
    assert len(data["times"]["starts"]) == 31
    assert sum(sum(one["new"]) + sum(one["known"]) for one in months) == sum(data["times"]["hours"]) == 4_871
    first = [one["new"][0] + one["known"][0] for one in months]
    assert re.search(r"2022-01-01\s*" + r"\s*".join(map(str, first)), page.text)
    assert data["times"]["states"] == {"new": "accepted in this run", "known": "known from earlier runs"}
    assert sum(sample[2] for sample in data["course"]["samples"]) == pages.course().samples()[-1].events + sum(
        one.events for one in pages.course().samples()[:-1]
    )


def test_the_policy_allows_our_scripts_and_nothing_else(page):
    (policy,) = (one["content"] or "" for one in page.of("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
    assert len(page.scripts) == 3
    assert policy.endswith("script-src " + " ".join(map(csp_source, page.scripts[1:])))
    assert not any(attr in attrs for _, attrs in page.tags for attr in ("src", "href", "action"))


def test_its_outline_and_its_names(page):
    """One h1, no level left out, every region, control and table head with a name, a language, no id twice."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.of("html")[0]["lang"] == "en"
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for reference in ("aria-labelledby", "for"):
            if reference in attrs:
                assert attrs[reference] in ids
        if attrs.get("role") in {"region", "img", "group"}:
            assert attrs.get("aria-label") or attrs.get("aria-labelledby")
    assert {attrs["for"] for attrs in page.of("label")} == {attrs["id"] for attrs in page.of("input")}
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.of("th"))


@pytest.fixture(scope="module")
def allowed() -> set[str]:
    """The elements of a page that has all its parts."""
    return {tag for tag, _ in Reader(pages.page(pages.told(exit=75, unread=[{"name": "a", "why": "b"}]))).tags}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_name_is_text_everywhere(allowed, text):
    example = {"place": text, "column": text, "value": text, "detail": text}
    summary = pages.told(
        mapping=text, store=text, base_url=text, notes=[text], stopped_by=text, exit=75, statuses={text: 1},
        by_event_name={text: {"accepted": 1}}, notices=[{"code": "unset", "field": text, "count": 1}],
        files=[{"name": text, "format": text, "read_as": text, "unchanged": False}], unread=[{"name": text, "why": text}],
    )  # fmt: skip
    html = pages.page(
        summary,
        [{"code": text, "count": 1, "title": text, "fix": text, "examples": [example]}],
        times=pages.times_of([(text, datetime(2024, 1, 1, tzinfo=UTC))]),
        course=pages.course(2),
        changes=[{"id": text, "name": text, "place": text}],
    )
    read = Reader(html)
    assert len(read.scripts) == 3
    assert {tag for tag, _ in read.tags} <= allowed
    assert not [name for _, attrs in read.tags for name in attrs if name.startswith("on")]
    assert hidden(html.replace("".join(read.scripts[1]), "")) == []
    assert json.loads(read.scripts[0])["times"]["series"]


def test_ten_thousand_names_and_problems_that_are_long_and_hostile_are_under_a_megabyte_and_a_half():
    long = ("".join(MARKUP) + "\u202e\U0010ffff") * 2
    html = pages.page(
        pages.told(
            mapping=long, store=long, notes=[long] * 10_000, stopped_by=long, exit=75,
            by_event_name={f"{i}{long}": {"accepted": 1, "invalid": i, "duplicate": i} for i in range(10_000)},
            notices=[{"code": "unset", "field": f"{i}{long}", "count": 1} for i in range(10_000)],
            files=[{"name": f"{i}{long}", "format": "csv", "read_as": long, "unchanged": False} for i in range(10_000)],
            unread=[{"name": long, "why": f"{i}{long}"} for i in range(10_000)],
        ),
        [
            {
                "code": f"code{i}{long}", "count": 9, "title": long, "fix": long,
                "examples": [{"place": long, "column": long, "value": long, "detail": long}] * 5,
            }
            for i in range(10_000)
        ],
        times=pages.times_of([
            (f"{i}{long}", datetime(1900 + i % 200, 1, 1, tzinfo=UTC)) for i in range(10_000)
        ]),
        course=pages.course(700),
        changes=[{"id": long[:240], "name": long[:240], "place": long[:240]}] * 20,
    )  # fmt: skip
    assert len(html.encode()) < 1_500_000
    text = Reader(html).text
    assert "And 9,940 more problems" in text
    assert "9,900 more names" in text
    assert "And 9,900 more files" in text
    assert "9,988 other names" in text


def test_a_run_that_sent_nothing_has_no_charts_and_no_libraries():
    summary = pages.told(
        exit=0, requests=0, statuses={}, events={"accepted": 0, "total": 0, "invalid": 0, "changed": 0}
    )
    html = pages.page(summary, [], times=None, course=None, changes=[])
    assert len(html) < 40_000
    text = Reader(html).text
    assert "No request was sent" in text
    assert "When the events happened" not in text


def test_the_colours_can_be_read():
    """Text has a contrast of 4.5 to what it stands on, in light and dark; bars and lines have 2.5 or more."""
    light, dark = re.findall(
        r":root \{(.*?)\}", re.search(r"<style>(.*?)@media print", pages.page(), re.DOTALL)[1], re.DOTALL
    )  # type: ignore[index]  # there is a style
    for sheet in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", sheet))
        pairs = [(text, ground) for text in ("ink", "quiet") for ground in ("page", "card")]
        pairs += [(mood, f"{mood}-tint") for mood in ("good", "mixed", "bad")] + [
            ("ink", "mixed-tint"),
            ("bad", "page"),
        ]
        for text, ground in pairs:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for number in range(1, 8):
            assert contrast(colours[f"c{number}"], colours["card"]) >= 2.5, number


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
