"""`source.since`: what is read each night, and that nothing is lost by it."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.errors import MappingError
from backfill.report import describe
from backfill.settings import Flags
from backfill.status import status
from tests.run.nights import Folder

SINCE = {"column": "upd", "lookback": "3d"}
DAY = timedelta(days=1)
FIRST = datetime(2024, 3, 1, tzinfo=UTC)


def day(number: int) -> str:
    return f"{FIRST + number * DAY:%Y-%m-%dT%H:%M:%SZ}"


def row(number: int, updated: str, total: str = "5") -> str:
    return f"{number},{total},ok,{updated}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "shop")
    made.mapping(SINCE)
    return made


def test_only_what_is_newer_is_read(folder):
    folder.csv([row(i, day(i)) for i in range(20)])
    first = folder.run()
    assert first["since"] == {
        "column": "upd", "lookback": "3d", "mark": None, "from": None, "older_rows": 0, "skipped_row_groups": 0,
        "rows_without_value": 0, "stuck": False, "held_at": None, "newest": day(19),
        "stands_out": None, "stands_behind": None,
    }  # fmt: skip
    folder.csv([row(i, day(i)) for i in range(22)] + [row(90, day(17)), row(91, day(15)), row(92, "")])
    check = folder.check()
    assert check.since["from"] == day(16)
    assert check.events()["ready"] == 4
    night = folder.run()
    assert (night["since"]["mark"], night["since"]["from"], night["since"]["older_rows"]) == (day(19), day(16), 17)
    assert night["rows"] == {"read": 25, "unreadable": 0, "filtered": 17, "mapped": 8}
    assert {name for name in folder.taken if name > "order:9"} == {"order:90", "order:92"}
    assert any("--reread reads all" in note for note in folder.notes)
    told = status(folder.path / "orders.yaml", Flags())
    assert f"orders.yaml: all is delivered up to upd {day(21)}; lookback 3d" in told
    # What came later than the lookback is found by who asks for everything.
    assert folder.run(reread=True)["events"]["accepted"] == 1
    assert set(folder.taken.values()) == {1}
    assert len(folder.taken) == 25


def test_the_mark_waits_for_what_is_left(folder):
    folder.csv([row(i, day(i)) for i in range(20)])
    assert folder.run(limit=3)["events"]["pending"] == 17
    assert folder.run(reread=True, limit=3)["since"]["mark"] is None
    other = folder.csv([row(50, day(90))], "other.txt")
    folder.run(files=(str(other),), state=folder.path / ".backfill")
    assert folder.run()["since"]["mark"] is None
    folder.csv([row(i, day(i)) for i in range(21)])
    assert folder.run()["since"]["mark"] == day(19)


def test_it_never_passes_a_rejected_row(folder):
    folder.csv([row(i, day(i), "x" if i == 7 else "5") for i in range(20)])
    assert folder.run(3)["since"]["held_at"] == day(7)
    for nights in (25, 40):
        folder.csv([row(i, day(i), "x" if i == 7 else "5") for i in range(nights)])
        assert folder.run(3)["since"]["from"] == day(4)
    folder.csv([row(i, day(i)) for i in range(40)])
    assert folder.run()["events"]["accepted"] == 1
    folder.csv([row(i, day(i)) for i in range(41)])
    assert folder.run()["since"]["from"] == day(36)
    assert folder.taken == {f"order:{i}": 1 for i in range(41)}


@pytest.mark.parametrize("bad", ["7,x,ok,", "7,x,ok,yesterday", "7,5"])
def test_a_rejected_row_without_a_value_stops_it(folder, bad):
    folder.csv([row(i, day(i)) for i in range(20) if i != 7])
    folder.run()
    for nights in (25, 40):
        folder.csv([bad, *(row(i, day(i)) for i in range(nights) if i != 7)])
        night = folder.run(3)
        assert (night["since"]["mark"], night["since"]["stuck"]) == (day(19), True)
        assert "A rejected row has no upd that can be read" in describe(3, night)[1]
    folder.csv([row(i, day(i)) for i in range(16, 40)] + [row(7, day(17))])
    assert folder.run()["events"]["accepted"] == 1
    folder.csv([row(i, day(i)) for i in range(41)])
    assert folder.run()["since"]["mark"] == day(39)


def test_it_never_passes_a_refused_event(folder):
    folder.refuses = {"order:7"}
    folder.csv([row(7, day(7))])
    folder.run(3)
    for nights in (20, 25):
        folder.csv([row(i, day(i)) for i in range(nights)])
        night = folder.run(3)
        assert night["events"]["refused"] == 1
    assert night["since"]["from"] == day(4)
    # The row is mended: it says something else, under the same id.
    folder.refuses = set()
    folder.csv([row(i, day(i), "9" if i == 7 else "5") for i in range(40)])
    assert folder.run()["events"]["accepted"] == 16
    assert set(folder.taken) == {f"order:{i}" for i in range(40)}


def test_two_rows_with_one_id_hold_it(folder):
    lines = [row(i, day(i)) for i in range(20)]
    folder.csv([*lines, row(3, day(4), "9")])
    assert folder.run(3)["since"]["held_at"] == day(4)
    folder.csv([*lines, row(3, day(4), "9"), row(20, day(20))])
    assert folder.run(3)["since"]["from"] == day(1)


def test_a_date_in_the_future_does_not_hide_what_comes(folder):
    folder.csv([row(1, day(1)), row(2, "2199-01-01T00:00:00Z")])
    folder.run()
    tomorrow = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    folder.csv([row(1, day(1)), row(2, "2199-01-01T00:00:00Z"), row(3, tomorrow)])
    assert folder.run()["events"]["accepted"] == 1


@pytest.mark.parametrize("future", ["2199-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_a_date_in_the_future_does_not_move_it(folder, future):
    folder.csv([row(1, day(1)), row(2, future)])
    folder.run()
    folder.csv([row(1, day(1)), row(2, future), row(3, day(2))])
    night = folder.run()
    assert (night["since"]["mark"], night["events"]["accepted"]) == (day(1), 1)
    # It is read each night, and does no harm.
    assert folder.run(reread=True)["events"]["already_delivered"] == 3


def test_a_mistyped_number_does_not_hide_what_comes(folder):
    folder.mapping({"column": "upd", "lookback": 5})
    lines = [row(1, "1"), row(99999999, "99999999")]
    folder.csv(lines)
    first = folder.run()
    assert (first["since"]["stands_out"], first["since"]["stands_behind"]) == (99999999, 1)
    assert "upd 99999999 stands far beyond 1" in describe(0, first)[1]
    for last in (3, 30, 60):
        lines = [row(i, str(i)) for i in range(1, last + 1)] + [row(99999999, "99999999"), row(8888, "8888")]
        folder.csv(lines)
        folder.run()
        assert set(folder.taken) == {f"order:{i}" for i in (*range(1, last + 1), 99999999, 8888)}
    folder.csv([row(i, str(i)) for i in range(1, 61)])
    mended = folder.run()
    assert (mended["since"]["mark"], mended["since"]["stands_out"]) == ("60", None)
    assert set(folder.taken.values()) == {1}


def test_numbers_that_go_on_elsewhere(folder):
    """A shop that counts from a million on has the mark follow, once it is sure; nothing is lost meanwhile."""
    folder.mapping({"column": "upd", "lookback": 5})
    marks = []
    for more in (0, 1, 99, 100, 101):
        folder.csv([row(i, str(i)) for i in (*range(50), *range(10**6, 10**6 + more))])
        marks.append(folder.run()["since"]["mark"])
        assert len(folder.taken) == 50 + more
    assert marks == [None, "49", "49", "49", "1000099"]


def test_numbers_with_wide_steps(folder):
    folder.mapping({"column": "upd", "lookback": 2**48})
    dice = random.Random(5)
    numbers = sorted(dice.sample(range(2**50), 40))
    for count in (38, 39, 40):
        folder.csv([row(i, str(number)) for i, number in enumerate(numbers[:count])])
        night = folder.run()
        assert night["since"]["stands_out"] is None
    assert night["since"]["mark"] == str(numbers[38])


@pytest.mark.parametrize("first", [2**53 - 5, 2**63 - 50])
def test_numbers_that_a_double_would_round(folder, first):
    folder.mapping({"column": "upd", "lookback": 3})
    forms = ("{}", " {} ", "+{}")
    lines = [row(i, forms[i % 3].format(first + i)) for i in range(50)]
    folder.csv(lines[:40])
    folder.run()
    folder.csv(lines)
    night = folder.run()["since"]
    assert (night["mark"], night["from"], night["older_rows"]) == (str(first + 39), str(first + 36), 36)
    assert night["rows_without_value"] == 0
    assert len(folder.taken) == 50


def test_a_few_numbers_that_all_are_far_apart(folder):
    folder.mapping({"column": "upd", "lookback": 3})
    lines = [row(i, str(i * 10**16)) for i in range(6)]
    folder.csv(lines[:5])
    folder.run()
    folder.csv(lines)
    assert folder.run()["since"]["mark"] == str(4 * 10**16)


def test_numbers_beyond_all_are_read_each_time(folder):
    folder.mapping({"column": "upd", "lookback": 3})
    lines = [row(30, str(2**64)), *(row(i, str(i)) for i in range(20))]
    folder.csv(lines)
    folder.run()
    folder.csv([*lines, row(20, "20")])
    night = folder.run()
    assert (night["since"]["mark"], night["since"]["rows_without_value"], night["rows"]["mapped"]) == ("19", 1, 6)


def test_what_is_kept_back_and_has_no_value_does_not_stop_it(folder):
    folder.mapping(SINCE, event={"eventTimestamp": "{status}"})
    fresh = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    lines = [f"{i},5,{day(i)},{day(i)}" for i in range(20)]
    folder.csv([*lines, f"50,5,{fresh},"])
    folder.run(not_newer_than="72h")
    folder.csv([*lines, f"50,5,{fresh},", f"20,5,{day(20)},{day(20)}"])
    night = folder.run(not_newer_than="72h")
    assert (night["since"]["mark"], night["since"]["stuck"], night["events"]["accepted"]) == (day(19), False, 1)
    # What waits is not forgotten.
    assert folder.run()["events"]["accepted"] == 1
    assert len(folder.taken) == 22


def test_the_duplicate_of_what_is_kept_back_holds_it(folder):
    folder.mapping(SINCE, event={"eventTimestamp": "{status}"})
    fresh = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    lines = [f"{i},5,{day(i)},{day(i)}" for i in range(20)]
    folder.csv([*lines, f"50,5,{fresh},{day(19)}", f"50,5,{fresh},{day(2)}"])
    assert folder.run(not_newer_than="72h")["since"]["held_at"] == day(2)
    folder.csv([*lines, f"50,5,{fresh},{day(2)}"])
    assert folder.run()["events"]["accepted"] == 1
    assert folder.taken["order:50"] == 1


def test_another_mapping_reads_everything(folder):
    folder.mapping(SINCE, source={"where": "status <> 'test'"})
    folder.csv([row(i, day(i)) for i in range(20)] + ["30,5,test," + day(1)])
    folder.run()
    folder.mapping(SINCE)
    assert folder.run()["events"]["accepted"] == 1
    # Another id: all is read, so that who changed it is told.
    folder.mapping(SINCE, event={"uniqueId": "o:{id}"})
    assert "21 events" in str(folder.run(78)["stopped_by"])
    # An older file joins: its rows are read.
    folder.mapping(SINCE, files=["*.csv", "old.txt"], source={"format": "csv"})
    folder.csv([row(40, day(1))], "old.txt")
    assert folder.run()["events"]["accepted"] == 1


def test_with_files_that_are_passed_over(folder):
    folder.csv([row(i, day(i)) for i in range(10)], "a.csv")
    folder.csv([row(i, day(i)) for i in range(10, 20)], "b.csv")
    folder.run()
    folder.csv([row(i, day(i)) for i in range(10, 21)], "b.csv")
    night = folder.run()
    assert [one["unchanged"] for one in night["files"]] == [True, False]
    assert night["rows"] == {"read": 11, "unreadable": 0, "filtered": 6, "mapped": 5}
    assert night["events"] == {
        "total": 15, "invalid": 0, "duplicate": 0, "already_delivered": 14, "changed": 0, "accepted": 1, "refused": 0,
        "pending": 0,
    }  # fmt: skip
    idle = folder.run()
    assert (idle["rows"]["read"], idle["since"]["mark"]) == (0, day(20))
    assert len(folder.taken) == 21


def test_a_file_of_which_rows_were_left_out_is_read_when_other_files_are_named(folder):
    for name, first in (("a.csv", 0), ("b.csv", 10)):
        folder.csv([row(i, day(i)) for i in range(first, first + 10)], name)
    folder.run()
    folder.csv([*(row(i, day(i)) for i in range(10, 20)), row(90, day(1))], "b.csv")
    assert folder.run()["events"]["accepted"] == 0
    folder.mapping(SINCE, files=["b.csv", "a.csv"])
    night = folder.run()
    assert [one["unchanged"] for one in night["files"]] == [False, False]
    assert night["events"]["accepted"] == 1
    # With its mark made anew, files are passed over as ever.
    assert folder.run()["rows"]["read"] == 0
    assert folder.taken == {f"order:{i}": 1 for i in (*range(20), 90)}


ZONE = "America/New_York"
TYPED: dict[str, tuple[dict[str, Any], pl.Series]] = {
    "utc": ({}, pl.Series([FIRST + i * DAY for i in range(60)])),
    "zone": ({}, pl.Series([FIRST + i * DAY for i in range(60)]).dt.convert_time_zone(ZONE)),
    "nanoseconds": ({}, pl.Series([FIRST + i * DAY for i in range(60)], dtype=pl.Datetime("ns", "UTC"))),
    "milliseconds": ({"timezone": ZONE}, pl.Series([datetime(2024, 3, 1) + i * DAY for i in range(60)], dtype=pl.Datetime("ms"))),
    "date": ({}, pl.Series([date(2024, 3, 1) + i * DAY for i in range(60)])),
    "epoch": ({"format": "epoch_s"}, pl.Series([int((FIRST + i * DAY).timestamp()) for i in range(60)])),
    "number": ({"lookback": 3}, pl.Series(list(range(1000, 1060)))),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPED)
def test_row_groups_that_are_older_are_not_read(folder, kind):
    said, values = TYPED[kind]
    folder.mapping(SINCE | said, "*.parquet")
    frame = pl.DataFrame({"id": range(60), "total": [5] * 60, "upd": values})
    folder.parquet(frame.head(50))
    folder.run()
    # A row that is late stands in the first group, one without a value in the third.
    late = frame.with_columns(
        id=pl.when(pl.col("id") == 4).then(104).when(pl.col("id") == 22).then(122).otherwise("id"),
        upd=pl.when(pl.col("id") == 4).then(values[48]).when(pl.col("id") != 22).then("upd").cast(values.dtype),
    )
    folder.parquet(late)
    night = folder.run()
    assert night["since"]["skipped_row_groups"] == 2
    # Of the groups that are read the older rows are left out.
    assert night["rows"] == {"read": 40, "unreadable": 0, "filtered": 24, "mapped": 16}
    assert night["events"]["accepted"] == 12
    assert {"order:104", "order:122", "order:59"} <= folder.taken.keys()


def test_the_rows_behind_what_is_not_read_keep_their_numbers(folder):
    folder.mapping(SINCE | {"lookback": 3}, "*.parquet")
    frame = pl.DataFrame({"id": range(60), "total": ["5"] * 60, "upd": range(60)})
    folder.parquet(frame.head(50))
    folder.run()
    folder.parquet(frame.with_columns(total=pl.when(pl.col("id") == 55).then(pl.lit("x")).otherwise("total")))
    assert folder.run(3)["since"]["skipped_row_groups"] == 4
    (run,) = [one for one in (folder.path / ".backfill" / "runs").iterdir() if (one / "rejected.csv").exists()]
    assert (run / "rejected.csv").read_text().splitlines()[1].endswith(",56")


def test_texts_are_compared_as_times(folder):
    """Of dates with the day first the greatest text is not the latest day: no statistics, and no text order."""
    folder.mapping({"column": "upd", "lookback": "1d", "format": "%d/%m/%Y"}, "*.parquet")
    days = [(FIRST + i * DAY).strftime("%d/%m/%Y") for i in range(60)]
    frame = pl.DataFrame({"id": range(60), "total": ["5"] * 60, "upd": days})
    folder.parquet(frame.head(40))
    folder.run()
    folder.parquet(frame)
    night = folder.run()
    assert (night["since"]["skipped_row_groups"], night["rows"]["mapped"]) == (0, 22)
    assert len(folder.taken) == 60


def test_a_column_that_does_not_fit(folder):
    folder.mapping(SINCE, "*.parquet")
    folder.parquet(pl.DataFrame({"id": [1], "total": ["5"], "upd": [5]}))
    with pytest.raises(MappingError, match=r"orders.yaml:5:13: a column of type Int64 is a time only with a format"):
        folder.check()


@st.composite
def histories(draw):
    """A seed for an export's nights, and how it is kept."""
    return draw(st.integers(0, 2**32)), draw(st.booleans()), draw(st.booleans())


class Shop:
    """An export that grows: late rows, edits, rows that are wrong and are mended, rows of which nobody knows when."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rows: list[dict[str, str]] = []
        self.now = 0

    def night(self) -> None:
        dice, before = self.random, self.now
        self.now += 24 * dice.randint(1, 5)
        for _ in range(dice.randint(0, 12)):
            hour = dice.randint(max(0, before - 72), before) if dice.random() < 0.3 else dice.randint(before, self.now)
            total = "x" if dice.random() < 0.15 else "5"
            status = "test" if dice.random() < 0.1 else "ok"
            upd = "" if dice.random() < 0.05 else str(hour)
            self.rows.append({"id": str(len(self.rows)), "total": total, "status": status, "upd": upd})
        for one in self.rows:
            if one["total"] == "x" and dice.random() < 0.3:
                one["total"] = "5"  # mended, and nothing says when
            elif dice.random() < 0.1:
                one.update(total="7", status="ok", upd=str(self.now))
        dice.shuffle(self.rows)

    def frame(self) -> pl.DataFrame:
        hours = [None if one["upd"] == "" else FIRST + timedelta(hours=int(one["upd"])) for one in self.rows]
        texts = {key: [one[key] for one in self.rows] for key in ("id", "total", "status")}
        return pl.DataFrame(
            {**texts, "upd": pl.Series(hours, dtype=pl.Datetime("us", "UTC"))},
            schema_overrides=dict.fromkeys(texts, pl.String),
        )


@settings(max_examples=4, deadline=None)
@given(history=histories())
def test_what_is_delivered_is_the_same_without_it(history):
    seed, typed, limited = history
    with tempfile.TemporaryDirectory() as base:
        shop = Shop(seed)
        folders = [Folder(Path(base) / name) for name in ("with", "without")]
        for one, since in zip(folders, (SINCE, None), strict=True):
            one.mapping(since, "*.parquet" if typed else "*.csv", source={"where": "status <> 'test'"})
        for night in range(4):
            shop.night()
            if not shop.rows:
                continue
            for one in folders:
                if typed:
                    one.parquet(shop.frame(), rows=4)
                else:
                    frame = shop.frame().with_columns(pl.col("upd").dt.strftime("%Y-%m-%d %H:%M:%S"))
                    one.csv([",".join(cell or "" for cell in cells) for cells in frame.rows()])
            wrong = 3 * any(one["total"] == "x" and one["status"] == "ok" for one in shop.rows)
            for one in folders:
                if limited and night == 2:
                    # The canary leaves something, or nothing: both do.
                    one.run(3 if wrong else 0, limit=2)
                else:
                    one.run(wrong)
        for one in folders:
            assert set(one.taken.values()) <= {1}
        if not limited:
            assert folders[0].taken == folders[1].taken
        for one in folders:
            one.run(wrong if shop.rows else 0) if shop.rows else None
        assert folders[0].taken.keys() == folders[1].taken.keys()
