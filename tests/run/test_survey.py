"""The two readings of an export, and the numbers that have to agree between them."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backfill import mapping as mappings
from backfill.errors import BugError, ExportError
from backfill.index import State
from backfill.ledger import content, key
from backfill.pipeline import Delivered, Delivery, check_balance, to_send
from backfill.plan import plan
from backfill.report import problems_of, summarize
from backfill.settings import Flags, resolve
from backfill.shape import HEAD, ID, TAIL
from backfill.survey import events_of, survey
from backfill.tally import Survey

NOW = datetime(2024, 6, 1, tzinfo=UTC)
EVENT = {
    "eventName": "{name}", "uniqueId": "order:{id}", "eventTimestamp": "{at}", "customer": {"email": "{email}"},
    "data": {"Note": "{note}"},
}  # fmt: skip


@pytest.fixture
def look(tmp_path):
    """`look(rows)`: the survey of rows of (id, at, name, note), and its plan."""

    def survey_of(rows: list[tuple[str, ...]], **parts: Any):
        lines = ["id,at,name,note,email", *(",".join([*row, "a@example.com"]) for row in rows)]
        (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
        path = tmp_path / "orders.yaml"
        tree = {"source": {"files": "orders.csv", "timezone": "UTC", **parts}, "events": [EVENT]}
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        planned = plan(mappings.read(path), NOW)
        return survey(planned, None, NOW), planned

    return survey_of


def test_what_will_be_sent_is_told_by_name(look):
    recent = f"{NOW - timedelta(hours=71):%Y-%m-%dT%H:%M:%SZ}"
    rows = [
        ("1", "2020-01-01", "Order Placed", "x"),
        ("2", recent, "Order Placed", "x"),
        ("3", "2021-05-05", "Order Refunded", "x"),
        ("3", "2021-05-05", "Order Refunded", "x"),
        ("1", "2020-01-01", "Order Placed", "other"),
        ("4", "2030-01-01", "Order Placed", "x"),
    ]
    found, _ = look(rows)
    assert found.events() == {
        "total": 6, "invalid": 2, "duplicate": 1, "already_delivered": 0, "changed": 0, "refused": 0, "ready": 3, "held": 0,
        "kept_back": 0,
    }  # fmt: skip
    placed, refunded = found.names["Order Placed"], found.names["Order Refunded"]
    assert (placed.count, placed.recent) == (2, 1)
    assert placed.oldest == datetime(2020, 1, 1, tzinfo=UTC)
    assert refunded.count == 1
    assert found.rejected == 2
    assert {code: group.count for code, group in found.problems.items()} == {"id_conflict": 1, "time_in_future": 1}


def test_names_that_are_alike_and_many(look):
    found, _ = look(
        [(str(i), "2020-01-01", name, "x") for i, name in enumerate(["Order Placed", "order  placed", "Other"])]
    )
    assert [(n.code, n.count) for n in found.notices.values()] == [("similar_names", 2)]
    found, _ = look([(str(i), "2020-01-01", f"Order {i}", "x") for i in range(51)])
    assert [(n.code, n.count) for n in found.notices.values()] == [("many_names", 51)]


def test_examples_are_few_and_problems_sorted(look):
    rows = [(str(i), "never", "Order Placed", "x") for i in range(50)] + [("", "2020-01-01", "Order Placed", "x")]
    found, planned = look(rows)
    first, second = problems_of(found, planned.export)
    assert (first["code"], first["count"], second["code"]) == ("not_a_time", 50, "missing_id")
    assert 1 <= len(first["examples"]) <= 5
    assert first["examples"][0]["place"] == "orders.csv:2"


@given(
    states=st.lists(st.sampled_from(list(State)), max_size=30),
    invalid=st.integers(0, 5),
    mended=st.integers(0, 5),
    retry=st.booleans(),
    limit=st.none() | st.integers(1, 10),
    data=st.data(),
)
def test_the_summary_balances_whatever_came_of_it(states, invalid, mended, retry, limit, data):
    found = Survey(invalid=invalid, mended={0: Counter({"Order Placed": mended})})
    found.index.states = np.array(states, np.uint8)
    found.index.name_numbers = np.zeros(len(states), np.uint16)
    found.index.names.append("Order Placed")
    wanted = (State.NEW, State.REFUSED) if retry else (State.NEW,)
    ready = sum(state in wanted for state in states)
    total = ready if limit is None else min(ready, limit)
    accepted = data.draw(st.integers(0, total))
    refused = data.draw(st.integers(0, total - accepted))
    pending = total - accepted - refused
    delivered = Delivered(accepted, refused, pending, data.draw(st.integers(0, pending)), {"Order Placed": accepted})
    check_balance(found, delivered, total)
    settings = resolve(Path("m"), mappings.Delivery(), Flags(sandbox=True, retry_rejected=retry, limit=limit), {})

    class NoExport:
        files: tuple = ()
        notes: tuple = ()

    told = summarize(found, delivered, settings, NoExport(), mapping="m", started=NOW, finished=NOW, status=0)
    events = told["events"]
    assert events["total"] == sum(count for name, count in events.items() if name != "total")
    assert events["total"] == len(states) + invalid + mended
    assert events["already_delivered"] == states.count(State.DELIVERED) + mended
    assert told["by_event_name"].get("Order Placed", {}).get("already_delivered", 0) == events["already_delivered"]
    assert min(events.values()) >= 0
    assert events["invalid"] == invalid + states.count(State.INVALID)
    assert (events["accepted"], events["duplicate"]) == (accepted, states.count(State.DUPLICATE))
    if limit is None:
        assert events["pending"] == pending + states.count(State.HELD) + states.count(State.KEPT)
    assert told["kept_back"] == states.count(State.KEPT)


@pytest.mark.parametrize(
    "delivered",
    [
        Delivered(accepted=2, sent_names={"n": 2}),
        Delivered(accepted=1, sent_names={"n": 2}, pending=2),
        Delivered(accepted=1, sent_names={"n": 1}, pending=1),
        Delivered(accepted=1, sent_names={"n": 1}, pending=2, unsent=3),
        Delivered(accepted=1, sent_names={"n": 1}, pending=2, unsent=-1),
    ],
)
def test_numbers_that_do_not_balance_are_a_bug(delivered):
    found = Survey()
    found.index.states = np.zeros(3, np.uint8)
    check_balance(found, Delivered(accepted=1, sent_names={"n": 1}, pending=2, unsent=1), 3)
    with pytest.raises(BugError) as caught:
        check_balance(found, delivered, 3)
    assert caught.value.status == 70


def test_rows_that_do_not_balance_are_a_bug():
    found = Survey()
    found.rows = replace(found.rows, read=2, mapped=1)
    with pytest.raises(BugError):
        check_balance(found, Delivered(), 0)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_rejected_twin_keeps_its_place(tmp_path, bad):
    """Mended, it must find its place free: another twin that had moved up would be sent again under its id."""
    path = tmp_path / "points.yaml"
    event = {
        "eventName": "Points", "uniqueId": {"hash": ["who", "day"], "occurrence": True}, "eventTimestamp": "{day}",
        "customer": {"email": "{email}"}, "data": {"Points": "{points}"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"source": {"files": "points.csv", "timezone": "UTC"}, "events": [event]}))

    def ids(emails: list[str]) -> dict[str, str]:
        rows = [f"ann,2024-01-02,{email},{points}" for points, email in enumerate(emails)]
        (tmp_path / "points.csv").write_text("\n".join(["who,day,email,points", *rows]) + "\n")
        planned = plan(mappings.read(path), NOW)
        found = survey(planned, None, NOW)
        (chunk,) = planned.shaper.whole_groups(planned.export.chunks())
        events = planned.shaper.shape(chunk.frame).events
        whole = planned.shaper.finish_id(events, found.index.twin_of(0, events.height))
        return dict(whole.select(pl.col(TAIL).str.extract('"Points":"(.)"'), ID).rows())

    mended = ids(["a@example.com"] * 3)
    before = ids(["none" if i == bad else "a@example.com" for i in range(3)])
    assert len(set(mended.values())) == 3
    assert before == {points: unique_id for points, unique_id in mended.items() if points != str(bad)}


def test_a_group_apart_is_not_sent_whatever_is_filtered(tmp_path):
    """The first row of its first part does not pass `where`, so that its events begin at another row."""
    (tmp_path / "orders.csv").write_text("o,i,s\n1,a,x\n1,b,ok\n2,c,ok\n1,d,ok\n3,e,x\n2,f,x\n")
    path = tmp_path / "orders.yaml"
    event = {
        "eventName": "Order", "uniqueId": "o:{o}", "eventTimestamp": {"const": "2024-01-01T00:00:00Z"},
        "customer": {"email": {"const": "a@example.com"}}, "data": {"$extra": {"Items": {"collect": {"I": "{i}"}}}},
    }  # fmt: skip
    source = {"files": "orders.csv", "timezone": "UTC", "group_by": ["o"], "where": "s <> 'x'"}
    path.write_text(yaml.safe_dump({"source": source, "events": [event]}))
    found = survey(plan(mappings.read(path), NOW), None, NOW)
    assert found.events() == {
        "total": 3, "invalid": 2, "duplicate": 0, "already_delivered": 0, "changed": 0, "refused": 0, "ready": 1, "held": 0,
        "kept_back": 0,
    }  # fmt: skip
    assert found.problems["group_apart"].count == 2
    assert found.rows.filtered == 3


def test_an_error_in_the_survey_leaves_numbers_that_balance(tmp_path):
    (tmp_path / "orders.csv").write_text("id,at\n" + "1,2024-01-01\n" * 3)
    path = tmp_path / "orders.yaml"
    event = {
        "eventName": "Order", "uniqueId": "o:{id}", "eventTimestamp": "{at}",
        "customer": {"email": {"const": "a@example.com"}},
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"source": {"files": "orders.csv", "timezone": "UTC"}, "events": [event]}))
    planned, found = plan(mappings.read(path), NOW), Survey()

    def fails(_: Survey) -> None:
        raise BugError("as if")

    with pytest.raises(BugError):
        survey(planned, None, NOW, watch=fails, into=found)
    found.index.resolve()
    check_balance(found, Delivered(), 0)
    # Which of them are duplicates, nobody has looked at yet.
    assert (found.rows.read, found.events()["total"], found.events()["ready"]) == (3, 3, 3)


def test_the_digest_of_an_event_is_of_what_it_says(look):
    """And not of its id: else a rerun would take all for changed."""
    _, planned = look([("1", "2020-01-01", "Order Placed", "x"), ("ü2", "2020-01-01", "Órder", 'é"')])
    (chunk,) = planned.export.chunks()
    events = planned.shaper.finish_id(planned.shaper.shape(chunk.frame).events)
    ready = events_of(events)
    assert list(ready.contents) == [
        content((head + tail).encode()) for head, tail in events.select(HEAD, TAIL).iter_rows()
    ]
    assert list(ready.keys) == [key(one) for one in ready.ids]
    assert [json.loads(body)["uniqueId"] for body in ready.bodies] == ["order:1", "order:ü2"]


def test_other_rows_than_were_checked_are_not_sent(tmp_path):
    """Also where the file's size and time tell nothing: each chunk has to be the one that was checked."""
    file = tmp_path / "orders.csv"
    file.write_text("id,at\n1,2024-01-01\n2,2024-01-02\n")
    before = file.stat()
    path = tmp_path / "orders.yaml"
    event = {
        "eventName": "Order", "uniqueId": "o:{id}", "eventTimestamp": "{at}",
        "customer": {"email": {"const": "a@example.com"}},
    }  # fmt: skip
    path.write_text(yaml.safe_dump({"source": {"files": "orders.csv", "timezone": "UTC"}, "events": [event]}))
    planned = plan(mappings.read(path), NOW)
    delivery = Delivery(planned, survey(planned, None, NOW), cast("Any", None), 0, cast("Any", None), 1.0, 1)
    assert [events.ids for events in to_send(delivery)] == [("o:1", "o:2")]
    file.write_text("id,at\n1,2024-01-01\n3,2024-01-02\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ExportError, match="other rows"):
        list(to_send(delivery))
