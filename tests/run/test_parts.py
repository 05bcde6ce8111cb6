"""An export that is read in parts: what is found is what one reading finds."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backfill import mapping as mappings
from backfill.cluster.apart import Apart
from backfill.ledger import Ledger, RunInfo, Target
from backfill.mapping import StoreColumn
from backfill.parting import part
from backfill.plan import Plan, plan
from backfill.read import split
from backfill.records import FILE, ROW, Outcome, Rejection
from backfill.survey import Look, survey, survey_all
from backfill.tally import Survey
from backfill.timeline import binned

NOW = datetime(2024, 6, 1, tzinfo=UTC)
TARGET = Target("https://api.example.com", "s")

MAPPING = """
source:
  files: "data/*"
  timezone: Europe/Berlin
{source}
events:
  - eventName: "{{name}}"
    uniqueId: {unique_id}
    eventTimestamp: "{{at}}"
    value: "{{amount}}"
    valueCurrency: EUR
    customer: {{email: "{{email}}"}}
    data: {{Amount: "{{amount}}"}}
"""
# Of such a row there are no cells.
UNREADABLE = ("ragged", "undecodable", "not_json")
UNIQUE_IDS = {
    "template": '"o:{id}"',
    "twins": '{hash: [id, name], prefix: "o:", occurrence: true}',
}


class Far:
    """A ledger that can be taken anywhere."""

    known: ClassVar[list[Ledger]] = []

    def __init__(self, ledger: Ledger) -> None:
        self.known.append(ledger)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.known[-1], name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _far, ()


def _far() -> Any:
    return Far(Far.known[-1])


def _there(value: Any) -> Any:
    """As it comes to another process that shares the memory: its arrays are read only."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(one) for one in buffers])


class Here:
    """Works itself, on copies, as another process would."""

    def each(
        self, what: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], far: int = 0
    ) -> Iterator[tuple[Any, list[Any]]]:
        for job in list(jobs):
            result = what(*_there(job))
            near, *rest = _there(result) if far else (_there(result),)
            assert len(rest) == far
            yield near, rest


def _files(folder: Path, rows: list[dict[str, str]], how: str) -> None:
    """The rows in five files, or in one of Parquet with many row groups."""
    data = folder / "data"
    data.mkdir()
    if how == "parquet":
        table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
        pq.write_table(table, data / "orders.parquet", row_group_size=7)
        return
    step = max(1, -(-len(rows) // 5))
    for number, start in enumerate(range(0, len(rows), step)):
        lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows[start : start + step])]
        (data / f"orders_{number}.csv").write_text("\n".join(lines) + "\n")


def _rows(numbers: list[tuple[int, int, int, int]]) -> list[dict[str, str]]:
    """Rows of few ids, so that some come again, with bad cells among them."""
    first = datetime(2024, 5, 20, tzinfo=UTC)
    return [
        {
            "id": str(one),
            "name": f"Event {name}",
            "at": "never" if fault == 1 else f"{first + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}",
            "email": "no address" if fault == 2 else f"c{one}@example.com",
            "amount": str(hours % 2),
        }
        for one, name, hours, fault in numbers
    ]


def _told(found: Survey, rejects: list[tuple[int, int, str]]) -> dict[str, Any]:
    """All that a survey tells."""
    index = found.index
    return {
        "rows": dataclasses.asdict(found.rows),
        "events": found.events(),
        "names": {name: dataclasses.asdict(stats) for name, stats in found.names.items()},
        "problems": {code: dataclasses.asdict(group) for code, group in found.problems.items()},
        "notices": {key: dataclasses.asdict(notice) for key, notice in found.notices.items()},
        "late": sorted(map(repr, found.late)),
        "unread": found.unread,
        "states": index.states.tolist(),
        "of names": [index.names[n] for n in index.name_numbers],
        "twins": [one.tolist() for one in index.twins],
        "checked": [sum(column) % 2**64 for column in zip(*index.checksums, strict=True)],
        "changed": found.changed,
        "rejected in": found.rejected_in,
        "held": index.held.tolist(),
        "timeline": binned(found.timeline, index.names),
        "window": dataclasses.asdict(found.window),
        "worth": found.worth(),
        "mended": found.mended,
        "rejects": sorted(rejects),
    }


def _both(planned: Callable[[], Plan], ledger: Ledger | None, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one reading tells, and what the parts tell."""
    told = []
    for survey_of in (survey_all, Apart(Here(), most=1).survey):
        rejects: list[tuple[int, int, str]] = []

        def reject(frame: pl.DataFrame, wrong: list[Rejection], into: list[Any] = rejects) -> None:
            rows = set(frame.select(FILE, ROW).rows())
            assert all((one.file, one.row) in rows for one in wrong if one.problem not in UNREADABLE)
            into.extend((one.file, one.row, one.problem) for one in wrong)

        found = Survey()
        survey_of(Look(planned(), ledger, NOW, **options), found, reject=reject)
        told.append(_told(found, rejects))
    return told[0], told[1]


def _planner(folder: Path, unique_id: str, source: str = "") -> Callable[[], Plan]:
    path = folder / "orders.yaml"
    path.write_text(MAPPING.format(unique_id=UNIQUE_IDS[unique_id], source=source))
    return lambda: plan(mappings.read(path), NOW)


ROWS = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 2), st.integers(0, 300), st.integers(0, 9)), min_size=1, max_size=60
)


@pytest.mark.parametrize("unique_id", UNIQUE_IDS)
@pytest.mark.parametrize("how", ["csv", "parquet"])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS, st.booleans())
def test_parts_show_what_the_whole_shows(tmp_path_factory, unique_id, how, numbers, kept):
    folder = tmp_path_factory.mktemp("parts")
    _files(folder, _rows(numbers), how)
    planned = _planner(folder, unique_id)
    one, parts = _both(planned, None, not_newer_than="72h" if kept else "")
    assert parts == one
    with Ledger.open(folder / "state", TARGET) as ledger:
        _deliver_every_third(planned(), ledger)
        one, parts = _both(planned, Far(ledger))  # type: ignore[arg-type]  # as good as one
        assert parts == one


def _deliver_every_third(planned: Plan, ledger: Ledger) -> None:
    """Some events as delivered, one with another content, and one refused."""
    from backfill.pipeline import Delivery, to_send
    from backfill.records import Refusal

    found = survey(planned, None, NOW)
    run = ledger.begin_run(RunInfo("orders.yaml"))
    delivery = Delivery(planned, found, ledger, run, None, 1, 1)  # type: ignore[arg-type]  # nothing is sent
    for events in to_send(delivery):
        third = list(range(0, len(events), 3))
        changed = dataclasses.replace(events, contents=tuple(b"x" * 16 for _ in events.contents))
        ledger.record([Outcome(events, accepted=third[1:])], run)
        ledger.record([Outcome(changed, accepted=third[:1])], run)
        ledger.record([Outcome(events, refused=[(i, Refusal(400, "no", "")) for i in range(1, len(events), 7)])], run)


def test_a_file_that_breaks_off_holds_what_other_parts_have_of_it(tmp_path):
    _files(tmp_path, _rows([(n, 0, n, 0) for n in range(60)]), "parquet")
    other = tmp_path / "data" / "more.csv"
    other.write_text(
        "id,name,at,email,amount\n" + "".join(f"{n},E,2024-01-01,c@example.com,1\n" for n in range(90, 99))
    )
    path = tmp_path / "data" / "orders.parquet"
    content = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(6).column(0)
    start = group.dictionary_page_offset or group.data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    one, parts = _both(_planner(tmp_path, "template"), None)
    # A small file is read in one go, so that alone nothing of it was seen.
    assert parts["unread"] == one["unread"]
    assert parts["events"]["held"] > 0
    assert parts["events"]["ready"] == one["events"]["ready"] == 9


SAMPLES = sorted((Path(__file__).parents[2] / "sample_data").rglob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_sample_is_the_same_in_parts(path):
    """Line items, twins, duplicates, conflicts and bad cells: all that the samples have."""
    one, parts = _both(lambda: plan(mappings.read(path), NOW), None)
    assert parts == one


def test_a_group_that_comes_back_later_is_in_no_part_the_whole(tmp_path):
    rows = _rows([(n // 2 % 9, 0, 3, 0) for n in range(40)])
    _files(tmp_path, rows, "csv")
    source = "  group_by: [id]"
    one, parts = _both(_planner(tmp_path, "template", source), None)
    assert parts == one
    assert one["problems"]["group_apart"]["count"] > 0


def test_source_since_is_the_same_in_parts(tmp_path):
    _files(tmp_path, _rows([(n, n % 2, 3 * n, n % 8) for n in range(60)]), "parquet")
    source = "  since: {column: at, lookback: 2d}"
    one, parts = _both(_planner(tmp_path, "template", source), None, not_newer_than="72h")
    assert parts == one
    assert one["window"]["greatest"]


def test_rows_that_were_put_aside_by_store_are_one_part(tmp_path: Path) -> None:
    """All files of the export tell nothing of where they lie: each part would hold all of them."""
    rows = _rows([(number, 1, number % 5, 0) for number in range(60)])
    _files(tmp_path, rows, "csv")
    text = MAPPING.format(source="", unique_id=UNIQUE_IDS["template"])
    (tmp_path / "m.yaml").write_text(text + 'delivery: {store: "{name}"}\n')
    planned = plan(mappings.read(tmp_path / "m.yaml"), NOW)
    whole = Survey()
    column = StoreColumn(column="name", map={"Event 1": "S1"})
    (one,) = part(planned, column, tmp_path / "stores.arrow", lambda _: None, lambda *_: None, whole)
    exports = split(one.planned.export, 1)
    assert sum(chunk.frame.height for export in exports for chunk in export.chunks()) == 60
