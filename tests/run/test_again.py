"""A later reading of the export is as the first was, or ends the run: what was decided goes by number."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from backfill import mapping as mappings
from backfill.again import again
from backfill.errors import ExportError
from backfill.ledger import Ledger, Target
from backfill.plan import Plan, plan
from backfill.read import Export
from backfill.records import FILE, ROW, Chunk, Rejection, UnreadFile
from backfill.survey import survey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAPPING = """
source: {files: ["a.csv", "b.csv"], timezone: UTC}
events:
  - eventName: Order Placed
    uniqueId: UNIQUE
    eventTimestamp: "{at}"
    customer: {email: "{email}"}
    data: {Order ID: "{order_id}"}
"""


@dataclass(frozen=True)
class Flaky(Export):
    """An export of which a file can't be read at some of the readings, as it is on another machine's disk."""

    fails: tuple[bool, ...] = ()

    def chunks(self, skip: Collection[int] = ()) -> Iterator[Chunk]:
        """The chunks of all files; of the first one, whether it is there this time."""
        reading = len(self.notes)
        self.notes.append("one more")
        for chunk in super().chunks(skip):
            rest = chunk.frame.filter(pl.col(FILE) != 0)
            if self.fails[reading] and rest.height < chunk.frame.height:
                why = UnreadFile(0, "a.csv", "a.csv: can't be read: Stale file handle", "fetch it again")
                yield Chunk(pl.DataFrame(schema={**self.schema, FILE: pl.UInt32, ROW: pl.UInt64}), unread=why)
                chunk = Chunk(rest, chunk.unreadable, chunk.unread)  # noqa: PLW2901 (what is left of it)
            yield chunk


def planned(folder: Path, unique_id: str, *fails: bool) -> Plan:
    for name, start in (("a", 0), ("b", 3)):
        rows = [f"{i},2024-01-01T00:00:00Z,c{i % 5}@example.com\n" for i in range(start, start + 4)]
        (folder / f"{name}.csv").write_text("order_id,at,email\n" + "".join(rows))
    (folder / "m.yaml").write_text(MAPPING.replace("UNIQUE", unique_id))
    found = plan(mappings.read(folder / "m.yaml"), NOW)
    parts = {one.name: getattr(found.export, one.name) for one in fields(Export)}
    return Plan(found.mapping, Flaky(**parts | {"notes": []}, fails=fails), found.shaper)


def test_what_is_read_again_is_what_was_checked(tmp_path: Path) -> None:
    # The second reading is the survey's own: an id stands in both files.
    same = planned(tmp_path, '"order:{order_id}"', False, False, False)
    found = survey(same, None, NOW)
    assert [one.at for one in again(same, found, None)] == [0]

    gone = planned(tmp_path, '"order:{order_id}"', False, False, True)
    found = survey(gone, None, NOW)
    with pytest.raises(ExportError, match="Stale file handle"):
        list(again(gone, found, None))


@pytest.mark.parametrize(
    ("unique_id", "fails"),
    [
        # Ids that stand more than once are looked at in a second reading, and twins asked about in a third.
        ("{hash: [email], occurrence: true}", (False, True, False)),
        ("{hash: [email], occurrence: true}", (False, False, True)),
        ('"late:{email}"', (False, True)),
    ],
)
def test_no_reading_of_a_survey_misses_a_file(tmp_path: Path, unique_id: str, fails: tuple[bool, ...]) -> None:
    rejected: list[Rejection] = []
    flaky = planned(tmp_path, unique_id, *fails, False, False, False)
    target = Target("https://api.example.com", "s")
    with Ledger.open(tmp_path / "state", target) as ledger:
        ledger._empty = False  # as if it held something: only then are twins asked about
        with pytest.raises(ExportError, match="Stale file handle"):
            survey(flaky, ledger, NOW, reject=lambda frame, bad: rejected.extend(bad))


def test_a_file_that_is_there_again_is_another_export(tmp_path: Path) -> None:
    flaky = planned(tmp_path, '"order:{order_id}"', True, False)
    with pytest.raises(ExportError, match="other rows than when it was checked"):
        survey(flaky, None, NOW)
