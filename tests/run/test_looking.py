"""status, report and preview in this process: what they say without a run, and that they change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_preview_of_a_row(mapping):
    assert [json.loads(text)["uniqueId"] for text in preview(mapping, 10, row=4)][1:] == ["thanks:2"]
    assert list(preview(mapping, 10, row=5)) == []
    assert list(preview(mapping, 10, row=99)) == []


def test_preview_as_a_command(mapping):
    """A quote in a value must not end the shell's."""
    import shlex

    (text,) = preview(mapping, 1, curl=True)
    words = shlex.split(text.replace("\\\n", " "))
    assert words[:4] == ["curl", "-sS", "-X", "POST"]
    body = json.loads(words[words.index("-d") + 1])
    assert body["data"]["$extra"]["Items"][0] == {"Title": "pen's"}
    assert "$REDO_API_SECRET" in text
