"""Presets: recognised by their headers, cut to what the export has, and checked like any draft."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backfill.draft import FOLDER
from backfill.draft.presets import adapted, chosen, load_presets, read_preset, recognised
from backfill.errors import BugError, UsageError
from backfill.mapping import parse
from backfill.shape import Columns

TINY = """\
# preset: tiny-orders
# title: Tiny: orders
# headers: Ref, Mail
# note: Orders > Export.
#   Look at the zone.

source:
  files: EXPORT
  timezone: UTC                # TODO: the shop's zone
  # Without tests.
  where: |-
    "Kind" IS NULL
    OR "Kind" <> 'test'

events:
  - eventName: Order Placed
    uniqueId: "order:{Ref}"
    eventTimestamp: "{When}"
    # Their worth.
    value: "{Total}"
    customer:
      email: "{Mail}"
      firstName:
        # The first word of it.
        sql: |-
          SPLIT_PART("Full name", ' ', 1)
      location:
        city: "{City}"
        # Of a kind.
        countryCode: {column: Country, map: {Germany: DE}}
    data:
      Gift: {column: Gift, type: boolean, default: "{Gift too}"}
      sql: "{Plan}"

  # Those that came back.
  - eventName: Order Returned
    where: '"Returned" IS NOT NULL'
    uniqueId: "return:{Ref}"
    eventTimestamp: "{Returned}"
    customer: {email: "{Mail}"}
"""
ALL = ["Ref", "Mail", "Kind", "When", "Total", "Full name", "City", "Country", "Gift", "Gift too", "Plan", "Returned"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "presets"
    path.mkdir()
    (path / "tiny-orders.yaml").write_text(TINY)
    (path / "ref.yaml").write_text(TINY.replace("tiny-orders", "ref").replace("Ref, Mail", "Ref"))
    return path


def cut(*missing: str) -> tuple[str, list[str]]:
    columns = [name for name in ALL if name not in missing]
    return adapted(read_preset(TINY, "tiny"), "my export.csv", None, columns, Columns({}).nested)


def test_the_one_with_most_headers_wins(folder):
    known = load_presets(folder)
    assert recognised(known, ["Ref", "Mail", "More"]).name == "tiny-orders"
    assert recognised(known, ["Ref", "More"]).name == "ref"
    assert recognised(known, ["Mail"]) is None


def test_a_name_that_is_none(folder):
    with pytest.raises(UsageError) as caught:
        chosen(load_presets(folder), "tiny-order")
    assert "did you mean" in caught.value.hint
    assert "tiny-orders, none" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["# preset: a\n# what: b\n\nsource: {}\n", "source: {}\n", "# preset: a\n# title: b\n\nx: 1\n"]
)
def test_a_preset_in_another_form_is_our_bug(text):
    with pytest.raises(BugError):
        read_preset(text, "a.yaml")


def test_with_all_columns_nothing_is_left_out():
    text, missing = cut()
    assert missing == []
    assert text == TINY[TINY.index("source:") :].replace("files: EXPORT", "files: my export.csv")


def test_what_the_export_lacks_is_left_out_with_its_comments(snapshot):
    text, missing = cut("Kind", "Total", "Full name", "Country", "Gift too", "Plan", "Returned")
    assert missing == ["Kind", "Total", "Full name", "Country", "Gift too", "Plan", "Returned"]
    draft = parse(text)
    assert draft.problems == []
    assert not {one.column for one in draft.references()} & set(missing)
    assert text == snapshot


def test_an_object_that_is_empty_goes_too():
    text, _ = cut("City", "Country", "Gift", "Plan", "Returned")
    assert "location:" not in text
    assert "data:" not in text
    assert parse(text).problems == []


def test_what_every_event_needs_stays_and_is_told(shelf, folder):
    shelf.put("a.csv", "Ref,Mail\n1,a@example.com\n")
    looked = shelf.look("a.csv", preset=None, presets=folder)
    drafted = looked.draft({})
    assert any("When" in words for _, words in drafted.todos)


def test_a_recognised_export(shelf, folder, snapshot):
    shelf.put("a.csv", "Ref,Mail,When,City\n1,a@example.com,2024-01-01,Bonn\n2,b@example.com,soon,Bonn\n")
    looked = shelf.look("a.csv", preset=None, presets=folder)
    drafted = looked.draft({})
    assert looked.questions == []
    assert "\n".join([drafted.text, "---", *map(str, drafted.todos), *drafted.checked]) == snapshot
    _, found = shelf.check(drafted)
    assert found.events()["ready"] == 1


def test_none_and_another(shelf, folder):
    shelf.put("a.csv", "Ref,Mail,When\n1,a@example.com,2024-01-01\n")
    assert shelf.look("a.csv", preset="none", presets=folder).preset is None
    assert shelf.look("a.csv", preset="ref", presets=folder).preset.name == "ref"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_those_that_ship_can_be_cut_anywhere(path):
    """Whichever of its columns an export lacks, what is left is a mapping."""
    preset = read_preset(path.read_text(), path.name)
    columns = list(dict.fromkeys(one.column for one in parse(preset.text).references()))
    for lacking in columns:
        if lacking in preset.headers or any(lacking.startswith(f"{one}.") for one in preset.headers):
            continue
        left = [one for one in columns if one != lacking]
        text, missing = adapted(preset, "a.csv", None, left, lambda name, left=left: name in left)
        assert missing == [lacking]
        assert parse(text).problems == [], (lacking, text)
        assert re.search(r"^  files: a\.csv$", text, re.MULTILINE)
