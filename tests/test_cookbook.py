"""The presets and the cookbook: each mapping loads, does to its export what is said, and stands in the page as it is.

`python tests/test_cookbook.py` writes the mappings into backfill/help/cookbook.md anew.
"""

from __future__ import annotations

import json
import re
import runpy
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from syrupy.assertion import SnapshotAssertion

from backfill import mapping
from backfill.check import check
from backfill.index import State
from backfill.observer import Observer
from backfill.preview import preview
from backfill.run import run
from backfill.settings import Flags
from backfill.tally import Survey

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ROOT / "backfill" / "draft" / "presets"
COOKBOOK = ROOT / "sample_data" / "cookbook"
PAGE = ROOT / "backfill" / "help" / "cookbook.md"
# A terminal's width: `backfill help cookbook` shows the page, and `backfill init` writes the presets.
COLUMNS = 80
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = re.compile(
    r"# preset: (?P<name>[a-z-]+)\n# title: (?P<title>.+)\n# headers: (?P<headers>.+)\n# note: (?P<note>.+\n(?:#   .+\n)*)\n"
)


@dataclass(frozen=True)
class Expected:
    """What `check` finds: events that are ready by name, rows left out, and what is wrong by problem."""

    ready: dict[str, int]
    filtered: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    omitted: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    twins: int = 0


EXPECTED = {
    "shopify-orders": Expected(
        {"Order Placed": 6, "Order Fulfilled": 1, "Order Cancelled": 1},
        filtered=2,
        rejected={"no_identifier": 1},
    ),
    "shopify-customers": Expected(
        {"Customer Imported": 5}, filtered=1, rejected={"no_identifier": 1}, omitted={"invalid_email": 1}
    ),
    "klaviyo-profiles": Expected(
        {"Profile Created": 6, "Email Subscribed": 2}, rejected={"no_identifier": 1}, omitted={"invalid_phone": 1}
    ),
    "klaviyo-events": Expected(
        {
            "Order Placed": 2,
            "Product Viewed": 1,
            "Product Added": 1,
            "Email Clicked": 1,
            "Email Subscribed": 1,
            "Order Refunded": 1,
        },
        filtered=3,
        rejected={"no_identifier": 1, "not_in_map": 1},
        duplicates=1,
    ),
    "stripe-charges": Expected(
        {"Payment Succeeded": 5, "Payment Refunded": 2, "Payment Failed": 1}, filtered=2, rejected={"no_identifier": 1}
    ),
    "woocommerce-orders": Expected(
        {"Order Placed": 5}, filtered=3, rejected={"no_identifier": 1}, omitted={"invalid_phone": 1}
    ),
    "smile-points": Expected(
        {"Points Earned": 5, "Points Deducted": 4},
        filtered=1,
        rejected={"no_identifier": 1, "missing_time": 1},
        twins=1,
    ),
    "database-orders": Expected(
        {"Order Placed": 10, "Order Paid": 8, "Order Refunded": 2}, filtered=1, rejected={"no_identifier": 2}
    ),
    "european-orders": Expected({"Order Placed": 6}, filtered=1, rejected={"not_a_time": 1, "not_a_number": 1}),
    "newsletter-log": Expected(
        {"Newsletter Joined": 8, "Newsletter Left": 1}, filtered=2, rejected={"no_identifier": 1}, twins=1
    ),
}
NAMES = sorted(EXPECTED)
PRESET_NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


def recipe(name: str) -> Path:
    return COOKBOOK / f"{name}.yaml"


# ------------------------------------------------------------------------------------------------------- the mappings


def test_there_are_seven_presets_and_ten_recipes() -> None:
    assert len(PRESET_NAMES) == 7
    assert sorted(path.stem for path in COOKBOOK.glob("*.yaml")) == NAMES
    assert len(NAMES) == 10
    assert set(PRESET_NAMES) < set(NAMES)


@pytest.mark.parametrize("path", [*PRESETS.glob("*.yaml"), *COOKBOOK.glob("*.yaml")], ids=lambda path: path.stem)
def test_a_mapping_is_clean_and_fits_a_terminal(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    draft = mapping.parse(text)
    assert [problem.render(path.name) for problem in draft.problems] == []
    assert "delivery:" not in text
    assert [line for line in text.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_says_what_it_is(name: str) -> None:
    text = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
    head = HEAD.match(text)
    assert head is not None
    assert head["name"] == name
    assert text[head.end() :].startswith("source:\n  files: EXPORT\n")
    assert text.count("EXPORT") == 1
    # No other recipe's export has all of them.
    headers = set(head["headers"].split(", "))
    assert len(headers) >= 4
    known = [other for other in PRESET_NAMES if headers <= set(columns(other))]
    assert known == [name]


def columns(name: str) -> list[str]:
    """The columns of a recipe's export."""
    path = recipe(name)
    source = mapping.load(path).source
    file = path.parent / source.files[0]
    if file.suffix == ".ndjson":
        return list(pl.read_ndjson(file).columns)
    return pl.read_csv(file, infer_schema=False, n_rows=1, encoding="utf8-lossy", truncate_ragged_lines=True).columns


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_is_its_recipe_but_for_the_file_and_what_is_decided(name: str) -> None:
    preset = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").partition("\nsource:\n")[2].splitlines()
    decided = recipe(name).read_text(encoding="utf-8").partition("\nsource:\n")[2].splitlines()
    for mine, theirs in zip(preset, decided, strict=True):
        assert mine == theirs or "# TODO: " in mine or mine == "  files: EXPORT" or follows_todo(preset, mine)
    assert "TODO" not in "\n".join(decided)


def follows_todo(lines: list[str], line: str) -> bool:
    """Whether a line is inside of what a TODO above it leaves to be decided, such as an entry of a map."""
    at = lines.index(line)
    indent = len(line) - len(line.lstrip())
    above = [one for one in lines[:at] if len(one) - len(one.lstrip()) < indent]
    return bool(above) and "# TODO: " in above[-1]


# ------------------------------------------------------------------------------------------------ what becomes of rows


@pytest.fixture(scope="module", name="checked", params=NAMES)
def fixture_checked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Survey]:
    name = request.param
    _, found, _ = check(recipe(name), Flags(state=tmp_path_factory.mktemp("state")), Observer())
    return name, found


def test_check_finds_what_is_expected(checked: tuple[str, Survey]) -> None:
    name, found = checked
    expected = EXPECTED[name]
    assert {name: count for name, count in found.by_name(State.NEW).items() if count} == expected.ready
    assert found.rows.filtered == expected.filtered
    assert found.rows.unreadable == 0
    assert {code: group.count for code, group in found.problems.items()} == expected.rejected
    assert found.events()["duplicate"] == expected.duplicates
    assert len(found.index.twins[0]) == expected.twins
    told = Counter[str]()
    for notice in found.notices.values():
        told[notice.code] += notice.count
    assert told == expected.omitted, "a recipe raises no suspicion but what it is about"


@pytest.mark.parametrize("name", NAMES)
def test_the_first_event_is_as_shown(name: str, snapshot: SnapshotAssertion) -> None:
    assert next(preview(recipe(name), 1)) == snapshot


@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_takes_each_event_and_a_second_run_sends_none(name: str, tmp_path: Path) -> None:
    flags = Flags(sandbox=True, yes=True, endpoint="bulk", state=tmp_path)
    first = run(recipe(name), flags, Observer())
    expected = EXPECTED[name]
    # Nothing is refused, and none is taken for another: ids are distinct.
    assert (first.status, first.summary["events"]["accepted"]) == (
        3 if expected.rejected else 0,
        sum(expected.ready.values()),
    )
    assert first.summary["events"]["refused"] == 0
    second = run(recipe(name), flags, Observer())
    assert second.summary["events"]["accepted"] == 0
    assert second.summary["events"]["already_delivered"] == sum(expected.ready.values())


def events(name: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in preview(recipe(name), 100)]


def test_ids_are_distinct() -> None:
    for name, expected in EXPECTED.items():
        ids = Counter(event["uniqueId"] for event in events(name))
        # A preview gives twins one id; the sandbox above has told them apart.
        assert sum(count - 1 for count in ids.values()) == expected.duplicates + expected.twins, name


def test_a_shopify_order_is_gathered_from_its_rows_and_the_test_order_left_out_whole() -> None:
    placed = {event["data"]["Order Number"]: event for event in events("shopify-orders") if "value" in event}
    assert "#1008" not in placed
    assert [item["Quantity"] for item in placed["#1012"]["data"]["$extra"]["Items"]] == [2, 1, 1]
    assert placed["#1012"]["data"]["Item Count"] == 4
    # One clock time, twice: the offset tells them apart.
    assert placed["#1011"]["eventTimestamp"] == "2024-11-03T05:30:00Z"
    assert placed["#1010"]["eventTimestamp"] == "2024-11-03T06:30:00Z"
    assert placed["#1011"]["data"]["Refunded Amount"] == 34
    assert placed["#1007"]["customer"]["lastName"] == "de la Cruz"
    assert "lastName" not in placed["#1006"]["customer"]
    assert placed["#1006"]["customer"]["phoneNumber"] == "+442079460033"


def test_refunds_are_below_zero_and_have_their_own_time() -> None:
    refunds = {event["uniqueId"]: event for event in events("stripe-charges") if "Refunded" in event["eventName"]}
    assert [event["value"] for event in refunds.values()] == [-120, -10]
    assert [event["data"]["Fully Refunded"] for event in refunds.values()] == [True, False]
    assert refunds["stripe:refund:ch_3PinvA002"]["eventTimestamp"] == "2024-06-04T08:30:00Z"
    assert {event["valueCurrency"] for event in events("stripe-charges") if "value" in event} == {"USD", "JPY"}
    database = [event for event in events("database-orders") if event["eventName"] == "Order Refunded"]
    assert [event["value"] for event in database] == [-15, -80]


def test_points_have_their_signs() -> None:
    points = [(event["eventName"], event["data"]["Points"]) for event in events("smile-points")]
    assert points[0] == ("Points Earned", 1250)
    assert points[2] == ("Points Deducted", -1000)
    assert all((name == "Points Deducted") == (count < 0) for name, count in points)


def test_the_hour_that_comes_twice_and_the_one_that_never_came() -> None:
    times = {event["uniqueId"]: event["eventTimestamp"] for event in events("european-orders")}
    # In summer time, as `earliest` says; an hour later it would be 01:30.
    assert times["order:2023-0004"] == "2023-10-29T00:30:00Z"
    assert times["order:2023-0002"] == "2023-03-26T01:30:00Z"
    woo = {event["uniqueId"]: event["eventTimestamp"] for event in events("woocommerce-orders")}
    assert woo["woocommerce:order:2042"] == "2024-11-03T06:30:00Z"


def test_people_are_invented() -> None:
    for name in NAMES:
        for event in events(name):
            customer = event["customer"]
            assert customer.get("email", "@example.com").endswith("@example.com"), name
            phone = customer.get("phoneNumber", "+12125550100")
            assert re.fullmatch(r"\+1\d{3}55501\d\d|\+4420794600\d\d|\+49302312\d{4}", phone), (name, phone)


def test_made_again_the_parquet_export_is_the_same_table() -> None:
    made = runpy.run_path(str(ROOT / "sample_data" / "make.py"))["database_orders"]()
    assert_frame_equal(made, pl.read_parquet(COOKBOOK / "database-orders.parquet"))


# ----------------------------------------------------------------------------------------------------------- the page


def name_of(text: str) -> str:
    found = re.search(r"cookbook/([a-z-]+)\.yaml", text)
    assert found is not None, text
    return found[1]


def with_mappings(page: str) -> str:
    """The page with each mapping as it stands in its file; a block is known by the name in its first lines."""
    return BLOCK.sub(lambda block: f"```yaml\n{recipe(name_of(block[1])).read_text(encoding='utf-8')}```", page)


def test_the_page_holds_each_mapping_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(name_of(block[1]) for block in BLOCK.finditer(page)) == NAMES
    assert page == with_mappings(page), "run `python tests/test_cookbook.py`"


def test_the_page_fits_a_terminal() -> None:
    assert [line for line in PAGE.read_text(encoding="utf-8").splitlines() if len(line) > COLUMNS] == []


def test_the_page_and_the_preset_give_one_command_for_klaviyo() -> None:
    preset = (PRESETS / "klaviyo-events.yaml").read_text(encoding="utf-8")
    shown = re.search(r"^```sh\n(jq .*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert "".join(f"#     {line}\n" for line in shown[1].splitlines()) in preset


if __name__ == "__main__":
    PAGE.write_text(with_mappings(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
