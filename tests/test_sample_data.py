"""The sample exports: made again they are the same, they hold nobody's real data, and what README.md says is true."""

from __future__ import annotations

import csv
import re
import runpy
import subprocess
import sys
from pathlib import Path

import phonenumbers
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from backfill.check import check
from backfill.mapping import load
from backfill.observer import Observer
from backfill.plan import Plan
from backfill.records import ROW
from backfill.settings import Flags
from backfill.shape import PROBLEMS
from backfill.tally import Survey

SAMPLES = Path(__file__).parent.parent / "sample_data"
README = (SAMPLES / "README.md").read_text(encoding="utf-8")
MAKE = runpy.run_path(str(SAMPLES / "make.py"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process of its own writes, with other hash seeds and another time zone than here."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run(
        [sys.executable, SAMPLES / "make.py", folder],
        check=True,
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    return folder


def told(heading: str) -> str:
    return README.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def rows_told(heading: str) -> list[list[str]]:
    """The cells of README.md's table about an export: which row, what is wrong, what happens."""
    rows = [line.split("|")[1:-1] for line in told(heading).splitlines() if line.startswith("|")]
    return rows[2:]


def shopify_rows() -> list[dict[str, str]]:
    with (SAMPLES / "shopify_orders.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["shopify_orders.csv", "klaviyo_events.ndjson"])
def test_made_again_the_text_exports_are_the_same_bytes(made: Path, name: str) -> None:
    assert (made / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_made_again_the_parquet_export_is_the_same_table(made: Path) -> None:
    # By content: its bytes are Polars' to choose, release by release.
    assert_frame_equal(pl.read_parquet(made / "loyalty.parquet"), pl.read_parquet(SAMPLES / "loyalty.parquet"))


def test_the_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir() if path.is_file()) < 2_000_000


@pytest.mark.parametrize("name", ["shopify_orders.csv", "loyalty.parquet", "klaviyo_events.ndjson"])
def test_every_email_is_at_a_domain_kept_for_examples(name: str) -> None:
    content = (SAMPLES / name).read_bytes()
    if name.endswith(".parquet"):
        content = (
            pl.read_parquet(SAMPLES / name).select("member").unnest("member")["email"].str.join(" ").item().encode()
        )
    domains = set(re.findall(rb"[\w.-]@([\w.-]+)", content))
    assert domains <= {b"example.com", b"example.net", b"example.org", b"example"}
    assert len(domains) > 1


def test_every_phone_is_valid_and_kept_for_fiction() -> None:
    members = pl.read_parquet(SAMPLES / "loyalty.parquet").select("member").unnest("member")["phone"]
    shopify = {row["Phone"] for row in shopify_rows()} - {"", None, "call the shop"}
    for phone in shopify | set(members.drop_nulls()):
        number = phonenumbers.parse(phone, "US")
        assert phonenumbers.is_valid_number(number), phone
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        assert re.fullmatch(r"\+1\d{3}55501\d\d|\+4420794600\d\d|\+49302312\d{4}", written), phone


def test_the_orders_are_written_as_shopify_writes_them() -> None:
    rows = [row for row in shopify_rows() if None not in row and None not in row.values()]
    assert len(rows[0]) == 79
    assert len(rows) + 2 == 1_431, "the readable rows and the two that have too many or too few fields"
    assert all(row["Name"].startswith("#") for row in rows)
    first = [row for row in rows if row["Id"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d -0[45]00", row["Created at"]) for row in first)
    assert any("\n" in row["Notes"] for row in first)
    others = [row for row in rows if not row["Id"]]
    filled = {column for row in others for column, text in row.items() if text}
    assert {column for column in filled if not column.startswith("Lineitem")} == {"Name", "Vendor"}


@pytest.mark.parametrize("name", ["shopify_orders", "loyalty", "klaviyo_events"])
def test_the_mapping_is_one_that_loads(name: str) -> None:
    mapping = load(SAMPLES / f"{name}.yaml")
    assert len(mapping.source.files) == 1
    assert (SAMPLES / mapping.source.files[0]).is_file()


@pytest.mark.parametrize("heading", ["shopify_orders.csv", "loyalty.parquet", "klaviyo_events.ndjson"])
def test_the_readme_names_every_broken_row(heading: str) -> None:
    named = {int(digits) for row in rows_told(heading) for digits in re.findall(r"\d+", row[0])}
    if heading == "shopify_orders.csv":
        expected = {*MAKE["BROKEN_ORDERS"], MAKE["RETURNING_ORDER"]}
    elif heading == "loyalty.parquet":
        # Rows count from 1, and a twin before one moves it down.
        twins = MAKE["TWIN_ENTRIES"]
        row = {n: n + 1 + sum(twin < n for twin in twins) for n in (*MAKE["BROKEN_ENTRIES"], *twins)}
        expected = {*row.values(), *(row[twin] + 1 for twin in twins)}
    else:
        # Lines count from 1. The last two are lines that another follows, and the follower is the one to name.
        *single, twice, changed = MAKE["BROKEN_EVENTS"]
        expected = {*(n + 1 for n in single), twice + 2, changed + 3}
    assert named == expected


@pytest.fixture(
    scope="module", params=["shopify_orders.csv", "loyalty.parquet", "klaviyo_events.ndjson"], name="checked"
)
def fixture_checked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Plan, Survey]:
    """An export's name, and what `backfill check` finds in it."""
    mapping = SAMPLES / f"{request.param.partition('.')[0]}.yaml"
    planned, found, _ = check(mapping, Flags(state=tmp_path_factory.mktemp("state")), Observer())
    return request.param, planned, found


def names_of_rows(heading: str, planned: Plan) -> dict[int, int]:
    """How README.md calls a row: by its order's number, else by its own."""
    if heading != "shopify_orders.csv":
        return {}
    frame = pl.concat(chunk.frame.select(ROW, "Name") for chunk in planned.export.chunks())
    return {row: int(name.lstrip("#")) for row, name in frame.iter_rows()}


def test_what_the_readme_says_of_each_row_is_what_check_finds(checked: tuple[str, Plan, Survey]) -> None:
    heading, planned, found = checked
    names = names_of_rows(heading, planned)
    seen: set[tuple[int, str]] = set()
    for code, group in found.problems.items():
        assert len(group.examples) == group.count, "each is shown, so that each can be compared"
        for example in group.examples:
            # Of a row that can't be read there is only its text, which begins with the order's number.
            order = re.search(r"#(\d{4})", example.detail)
            name = names.get(example.row) or (int(order[1]) if names and order else example.row)
            seen.add((name, code))
    for notice in found.notices.values():
        if notice.severity == "omit":
            assert notice.count == 1
            seen.add((names.get(notice.row, notice.row), notice.code))
    said = {
        (int(re.findall(r"\d+", row[0])[0]), code)
        for row in rows_told(heading)
        for code in re.findall(r"`(\w+)`", row[2])
        if code in PROBLEMS
    }
    assert seen == said


def test_the_counts_in_the_readme_are_those_of_check(checked: tuple[str, Plan, Survey]) -> None:
    heading, _, found = checked
    line = told(heading).splitlines()[0].replace(",", "")
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+)(?: rows)?(?: are| a)? (\w+)", line) if word != "rows"
    }
    events = found.events()
    expected = {
        "events": events["total"],
        "accepted": events["ready"],
        "invalid": events["invalid"],
        "duplicate": events["duplicate"],
        "filtered": found.rows.filtered,
        "unreadable": found.rows.unreadable,
    }
    assert counts == {word: count for word, count in expected.items() if count}
    rows = re.search(rf"`{re.escape(heading)}` \|[^|]*?([\d,]+) (?:rows|lines)", README)
    assert rows is not None
    assert found.rows.read == int(rows[1].replace(",", ""))


def test_twins_are_sent_and_a_row_that_stands_twice_is_sent_once(checked: tuple[str, Plan, Survey]) -> None:
    heading, _, found = checked
    twins = [re.findall(r"\d+", row[0]) for row in rows_told(heading) if "`occurrence`" in row[2]]
    assert len(found.index.twins[0]) == sum(len(rows) // 2 for rows in twins)
    duplicates = [row for row in rows_told(heading) if "a duplicate" in row[2]]
    assert found.events()["duplicate"] == len(duplicates)
