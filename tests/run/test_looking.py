"""status, report and preview in this process: what they say without a run, and that they change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backfill import Backfill
from backfill.errors import UsageError
from backfill.preview import preview
from backfill.settings import Flags
from backfill.status import last_report, status

MAPPING = """\
source: {files: lines.csv, group_by: [id], timezone: UTC}
events:
  - eventName: Order Placed
    uniqueId: {hash: [id], prefix: "x:", occurrence: true}
    eventTimestamp: "{at}"
    customer: {email: "{email}"}
    data: {$extra: {Items: {collect: {Title: "{item}"}}}}
  - eventName: Thanks
    uniqueId: "thanks:{id}"
    eventTimestamp: "{at}"
    customer: {email: "{email}"}
"""
ROWS = """\
id,at,email,item
1,2024-01-01,a@example.com,pen's
1,,,ink
2,2024-01-02,b@example.com,jug
3,never,c@example.com,mug
"""


@pytest.fixture
def mapping(tmp_path) -> Path:
    (tmp_path / "lines.csv").write_text(ROWS)
    path = tmp_path / "lines.yaml"
    path.write_text(MAPPING)
    return path


def test_nothing_was_sent_yet(tmp_path):
    flags = Flags(state=tmp_path / "none")
    assert "nothing was sent yet" in status(None, flags)
    assert json.loads(status(None, flags, as_json=True)) == {"state": str(tmp_path / "none"), "stores": [], "runs": []}
    with pytest.raises(UsageError, match="none"):
        last_report(None, flags)
    assert not (tmp_path / "none").exists()


def test_preview(mapping):
    events = [json.loads(text) for text in preview(mapping, 10)]
    names = [event["eventName"] for event in events]
    assert sorted(names) == ["Order Placed"] * 2 + ["Thanks"] * 2
    first = next(event for event in events if event["eventName"] == "Order Placed")
    assert first["data"] == {"$extra": {"Items": [{"Title": "pen's"}, {"Title": "ink"}]}}
    assert first["uniqueId"].startswith("x:")
    assert len(list(preview(mapping, 1))) == 1
    assert not (mapping.parent / ".backfill").exists()


def row_of(mapping: Path, row: int, flags: Flags | None = None) -> tuple[list[str], list[str]]:
    """The ids of a row's events, and what is said of them."""
    notes: list[str] = []
    texts = list(preview(mapping, 10, flags, row=row, note=notes.append))
    return [json.loads(text)["uniqueId"] for text in texts], notes


def why(mapping: Path, row: int, flags: Flags | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        row_of(mapping, row, flags)
    return f"{raised.value.message} | {raised.value.hint}"


def test_preview_of_a_row(mapping):
    ids, notes = row_of(mapping, 4)
    assert (ids[1:], notes) == (["thanks:2"], [])
    ids, notes = row_of(mapping, 3)
    assert ids[1:] == ["thanks:1"]
    assert notes == ["lines.csv:3: it is of the group of id “1”, whose first row is lines.csv:2"]


def test_preview_says_why_a_row_has_no_event(mapping):
    told = why(mapping, 5)
    assert told.startswith('lines.csv:5: no event: rejected: eventTimestamp "never" in column "at": not a time | mend')
    assert why(mapping, 99).startswith("no row 99 in lines.csv: the nearest is 5 | ")
    assert why(mapping, 1).startswith("no row 1 in lines.csv: the nearest is 2 | ")
    with (mapping.parent / "lines.csv").open("a") as file:
        file.write("4,2024-01-01,d@example.com\n")
    assert why(mapping, 6).startswith("lines.csv:6: no event: it can't be read: 3 fields where the header has 4")


@pytest.mark.parametrize("adjacent", ["true", "false"])
def test_preview_says_which_condition_leaves_a_row_out(mapping, adjacent):
    where = f"{{columns: [id], adjacent: {adjacent}}}, where: \"item <> 'jug' AND item <> 'ink'\""
    text = MAPPING.replace("[id], timezone", f"{where}, timezone", 1)
    mapping.write_text(text.replace("- eventName: Order Placed", "- eventName: Order Placed\n    where: email IS NULL"))
    condition = "left out by source.where: item <> 'jug' AND item <> 'ink'"
    assert why(mapping, 4).startswith(f"lines.csv:4: no event: {condition} | mend the cell, or the condition")
    ids, notes = row_of(mapping, 3)
    assert ids == ["thanks:1"]
    group = "it is of the group of id “1”, whose first row is lines.csv:2; that goes without it"
    assert notes == [f"lines.csv:3: {condition}", f"lines.csv:3: {group}"]
    (mapping.parent / "lines.csv").write_text(ROWS.replace("jug", ""))
    assert 'source.where (where "item" is empty): item' in why(mapping, 4)


def test_preview_says_which_events_conditions_leave_a_row_out(mapping):
    text = MAPPING.replace(", group_by: [id]", "")
    for name, email in (("Order Placed", "a@example.com"), ("Thanks", "b@example.com")):
        text = text.replace(f"eventName: {name}", f"eventName: {name}\n    where: \"email = '{email}'\"")
    mapping.write_text(text.replace('    data: {$extra: {Items: {collect: {Title: "{item}"}}}}\n', ""))
    assert row_of(mapping, 4) == (["thanks:2"], [])
    told = why(mapping, 5)
    assert "no event: left out by events[0].where: email = 'a@example.com'; left out by events[1].where: email" in told
    assert '(where "email" is empty)' in why(mapping, 3)


def test_preview_of_a_row_in_some_files(mapping):
    (mapping.parent / "more.csv").write_text("id,at,email,item\n\n\n7,2024-01-07,g@example.com,hat\n")
    mapping.write_text(MAPPING.replace("lines.csv", "[lines.csv, more.csv]"))
    assert [one for one in row_of(mapping, 4)[0] if one.startswith("thanks")] == ["thanks:2", "thanks:7"]
    (mapping.parent / "more.csv").write_text("id,at,email,item\n\n\n7,never,g@example.com,hat\n")
    ids, notes = row_of(mapping, 4)
    assert len(ids) == 2
    assert [note.partition(" event:")[0] for note in notes] == ["more.csv:4: no"]
    assert "no row 8 in any of the 2 files: the nearest is 5" in why(mapping, 8)


def test_preview_of_other_files(mapping):
    other = mapping.parent / "mended.csv"
    other.write_text(
        "id,at,email,item,problem,detail,file,row\n3,2024-01-03,c@example.com,mug,not_a_time,x,lines.csv,5\n"
    )
    ids, _ = row_of(mapping, 2, Flags(files=(str(other),)))
    assert ids[1:] == ["thanks:3"]
    assert Backfill(mapping, files=[other]).preview(1, row=2)[0]["customer"] == {"email": "c@example.com"}
    with pytest.raises(UsageError, match=r"no row 5 in .*mended\.csv"):
        Backfill(mapping, files=[other]).preview(row=5)


def test_preview_says_what_a_run_leaves_out_for_now(mapping, monkeypatch):
    from datetime import UTC, datetime, timedelta

    monkeypatch.setenv("REDO_STORE_ID", "sandbox")
    text = MAPPING.replace(", group_by: [id]", ", since: {column: id, lookback: 1}").replace(", occurrence: true", "")
    text = text.replace('    data: {$extra: {Items: {collect: {Title: "{item}"}}}}\n', "")
    mapping.write_text(text + "delivery: {not_newer_than: 72h}\n")
    fresh = datetime.now(UTC) - timedelta(hours=1)
    rows = [f"{n},2024-01-0{n},a@example.com,pen" for n in range(1, 6)]
    (mapping.parent / "lines.csv").write_text("\n".join(["id,at,email,item", *rows]) + "\n")
    rehearsed = Flags(sandbox=True)
    assert Backfill(mapping, sandbox=True).run().status == 0
    with (mapping.parent / "lines.csv").open("a") as file:
        file.write(f"6,{fresh:%Y-%m-%dT%H:%M:%S},f@example.com,mug\n")
    ids, notes = row_of(mapping, 3, rehearsed)
    assert len(ids) == 2
    left_out = "a run leaves it out: its id is 2, and rows are read from 4 on (source.since: all is delivered up to 5;"
    assert notes == [f"lines.csv:3: {left_out} lookback 1)"]
    assert row_of(mapping, 6, rehearsed)[1] == []
    assert row_of(mapping, 7, rehearsed)[1] == [
        "lines.csv:7: a run keeps it back until it is 72 hours old (not_newer_than)"
    ]


def test_preview_as_a_command(mapping):
    """A quote in a value must not end the shell's."""
    import shlex

    (text,) = preview(mapping, 1, curl=True)
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:4] == ["curl", "-sS", "-X", "POST"]
    body = json.loads(words[words.index("-d") + 1])
    assert body["data"]["$extra"]["Items"][0] == {"Title": "pen's"}
    assert "$REDO_API_SECRET" in text


def test_a_check_tells_of_rows_left_out_as_a_cell_is_empty(mapping):
    text = MAPPING.replace(", group_by: [id]", ", where: \"email <> 'c@example.com'\"")
    mapping.write_text(text.replace('    data: {$extra: {Items: {collect: {Title: "{item}"}}}}\n', ""))
    found = Backfill(mapping).check()
    assert found.rows["filtered"] == 2
    told = '1 of 2 filtered rows: source.where (where "email" is empty): left out, as the condition is null'
    assert told in found.text
    assert "(where_unknown), such as lines.csv:3" in found.text
    (notice,) = [one for one in found.notices if one["code"] == "where_unknown"]
    assert (notice["field"], notice["count"]) == ('source.where (where "email" is empty)', 1)
    assert found.report is not None
    assert "as the condition is null" in found.report.read_text(encoding="utf-8")
