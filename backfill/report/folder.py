"""The folder of one run: summary.json, rejected.csv, rejected.ndjson, changed.ndjson, report.html."""

from __future__ import annotations

import csv
import io
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

import polars as pl

from backfill.disk import Disk
from backfill.errors import StorageError
from backfill.read import REPORT_COLUMNS, ReportCsv, escape
from backfill.records import FILE, ROW, Outcome, Rejection
from backfill.shape.group import GROUP
from backfill.shape.texts import as_text

__all__ = [
    "RUN_FOLDERS",
    "STORES",
    "RunFolder",
    "StoreFolder",
    "last_run",
    "rejected_rows",
    "waiting_in",
    "write_check",
]

RUNS = "runs"
CHECKS = "check"
STORES = "stores"
WAITING = "waiting.json"
# As their names are made below.
RUN_FOLDERS = "[0-9]" * 8 + "T" + "[0-9]" * 6 + "Z-" + "[0-9a-f]" * 6


class RunFolder:
    """Writes one run's files. Folders are made 0700, files 0600: they hold customers' rows.

    What is written as the run goes on (rejected rows) is flushed line by line; what is written at its end replaces a
    file whole or not at all. `style` is how rejected.csv is written.
    """

    def __init__(
        self,
        state: Path,
        now: datetime,
        name: Callable[[int], str],
        schema: Mapping[str, pl.DataType],
        disk: Disk | None = None,
        style: ReportCsv | None = None,
    ) -> None:
        self.path = state / RUNS / f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self._disk = disk or Disk()
        with _storage(self.path, "making the run's folder"):
            for folder in (state, state / RUNS, self.path):
                self._disk.make_folder(folder)
        self._name = name
        self._cells = cells(schema)
        self._style = style or ReportCsv()
        self._files: dict[str, IO[str]] = {}
        # Many stores write to one.
        self._turn = threading.Lock()

    def reject_rows(self, frame: pl.DataFrame, rejections: list[Rejection]) -> None:
        """Write rows that hold rejections to rejected.csv, as they were, with what is wrong with them.

        A group's rows all go: what is imported again has to be whole.
        """
        with self._turn:
            self._reject_rows(frame, rejections)

    def _reject_rows(self, frame: pl.DataFrame, rejections: list[Rejection]) -> None:
        wrong: dict[tuple[int, int], list[Rejection]] = {}
        for rejection in rejections:
            wrong.setdefault((rejection.file, rejection.row), []).append(rejection)
        seen: set[tuple[int, int]] = set()
        groups: dict[int, list[Rejection]] = {}
        for row in self._rows(frame, wrong):
            place = (row[FILE], row[ROW])
            seen.add(place)
            mine = wrong.get(place, [])
            if GROUP in row:
                # Every row of a group tells what is wrong with it: a part of it must not come back as the whole.
                mine = groups.setdefault(row[GROUP], mine)
            self._reject(row, mine, *place)
        for place, mine in wrong.items():
            if place not in seen:
                self._reject({}, mine, *place)

    def _rows(self, frame: pl.DataFrame, wrong: dict[tuple[int, int], list[Rejection]]) -> Iterator[dict[str, Any]]:
        if not frame.height:
            return
        hits = rejected_rows(frame, list(chain.from_iterable(wrong.values())))
        texts = [text.alias(name) for name, (text, _) in self._cells.items()]
        yield from hits.select(*texts, FILE, ROW, *([GROUP] if GROUP in frame.columns else [])).iter_rows(named=True)

    def _reject(self, row: dict[str, Any], rejections: list[Rejection], file: int, number: int) -> None:
        cells = [_cell(row.get(name), dtype) for name, (_, dtype) in self._cells.items()]
        problem = rejections[0].problem if rejections else ""
        detail = "; ".join(dict.fromkeys(rejection.detail for rejection in rejections))
        place = [escape(problem), escape(_printable(detail)), escape(self._name(file)), str(number)]
        with _storage(self.path / "rejected.csv", "writing a rejected row"):
            self._disk.write(self._open("rejected.csv"), self._csv_line([*cells, *place]))

    def refuse(self, outcome: Outcome) -> None:
        """Write events that the API refused to rejected.ndjson, with its answer."""
        for i, refusal in outcome.refused:
            self._line(
                "rejected.ndjson",
                {
                    "file": self._name(outcome.events.files[i]),
                    "row": outcome.events.rows[i],
                    "status": refusal.status,
                    "title": refusal.title,
                    "detail": refusal.detail,
                    "event": json.loads(outcome.events.bodies[i]),
                },
            )

    def change(self, changed: Iterable[tuple[str, int, int, str]]) -> None:
        """Write to changed.ndjson which events have other content than was delivered under their id."""
        for unique_id, file, row, name in changed:
            self._line(
                "changed.ndjson",
                {"uniqueId": unique_id, "eventName": name, "file": self._name(file), "row": row},
            )

    def _line(self, name: str, value: dict[str, Any]) -> None:
        with self._turn, _storage(self.path / name, "writing the report"):
            self._disk.write(self._open(name), json.dumps(value, ensure_ascii=False) + "\n")

    def _open(self, name: str) -> IO[str]:
        if name not in self._files:
            if name != "rejected.csv":
                self._files[name] = self._disk.create(self.path / name)
                return self._files[name]
            self._files[name] = self._disk.create(self.path / name, encoding=self._style.encoding)
            head = self._csv_line([*map(escape, self._cells), *REPORT_COLUMNS])
            self._disk.write(self._files[name], "\ufeff" * self._style.mark + head)
        return self._files[name]

    def _csv_line(self, cells: Iterable[str]) -> str:
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=self._style.separator).writerow(cells)
        return line.getvalue()

    def write(self, name: str, text: str) -> Path:
        """Write a whole file: after a crash there is the old one or the new one, never half."""
        return _whole(self._disk, self.path / name, text)

    def wait(self, waiting: tuple[datetime, str] | None) -> None:
        """Leave for who looks from outside since when and for what the run waits; None: it waits no more.

        It is there to be told only: a disk that does not take it stops no run here.
        """
        path = self.path / WAITING
        with suppress(OSError):
            if waiting is None:
                path.unlink(missing_ok=True)
                return
            with self._disk.create(path, instead=True) as file:
                self._disk.write(file, json.dumps({"since": f"{waiting[0]:%Y-%m-%dT%H:%M:%SZ}", "why": waiting[1]}))

    def close(self) -> None:
        """Close the files that are written as the run goes on; a second call does nothing."""
        files, self._files = list(self._files.values()), {}
        with _storage(self.path, "closing the report"), ExitStack() as stack:
            for file in files:
                stack.callback(file.close)

    def has(self, name: str) -> bool:
        """Whether the run wrote such a file."""
        return (self.path / name).exists()


def rejected_rows(frame: pl.DataFrame, rejections: Sequence[Rejection]) -> pl.DataFrame:
    """The rows of a frame in which rejections are; of a group all rows."""
    places = pl.DataFrame(
        {FILE: [one.file for one in rejections], ROW: [one.row for one in rejections]},
        schema={FILE: frame.schema[FILE], ROW: frame.schema[ROW]},
    )
    hits = frame.join(places, on=[FILE, ROW], how="semi", maintain_order="left")
    return frame.filter(pl.col(GROUP).is_in(hits[GROUP].implode())) if GROUP in frame.columns else hits


class StoreFolder(RunFolder):
    """Of a run of many stores one store's folder: its own summary and page. Rows and events that are rejected go to the
    files of the whole, of which each says whose it is.
    """

    def __init__(self, whole: RunFolder, folder: str, store: str) -> None:
        self.path = whole.path / STORES / folder
        self._disk = whole._disk  # noqa: SLF001  its own class
        self._name = whole._name  # noqa: SLF001
        self._files: dict[str, IO[str]] = {}
        self._whole, self._store = whole, store
        with _storage(self.path, "making a store's folder"):
            self._disk.make_folder(self.path.parent)
            self._disk.make_folder(self.path)

    def reject_rows(self, frame: pl.DataFrame, rejections: list[Rejection]) -> None:
        self._whole.reject_rows(frame, rejections)

    def wait(self, waiting: tuple[datetime, str] | None) -> None:
        """What one store waits for is no wait of the whole."""

    def _line(self, name: str, value: dict[str, Any]) -> None:
        self._whole._line(name, {"store": self._store, **value})  # noqa: SLF001


def waiting_in(state: Path, folder: str) -> tuple[str, str] | None:
    """Since when and for what the run of this folder waits, as `RunFolder.wait` left it."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((state / RUNS / folder / WAITING).read_text(encoding="utf-8"))
        return str(found["since"]), str(found["why"])
    return None


def write_check(state: Path, name: str, text: str, disk: Disk | None = None) -> Path:
    """Write the page of a check to the state folder: the last one of each name is kept."""
    disk, path = disk or Disk(), state / CHECKS / f"{name}.html"
    with _storage(path, "writing the report"):
        for folder in (state, path.parent):
            disk.make_folder(folder)
    return _whole(disk, path, text)


def _whole(disk: Disk, path: Path, text: str) -> Path:
    with _storage(path, "writing the report"):
        temporary = path.with_name(f".{path.name}.new")
        with disk.create(temporary, instead=True) as file:
            disk.write(file, text)
            disk.sync(file)
        disk.rename(temporary, path)
    return path


def cells(schema: Mapping[str, pl.DataType]) -> dict[str, tuple[pl.Expr, pl.DataType]]:
    """The columns of rejected.csv, each as canonical text, and its type: what comes back makes the same ids.

    A field of a nested column is a column of its own, `a.b`, which a mapping's `{a.b}` finds in a CSV too.
    """
    found: dict[str, tuple[pl.Expr, pl.DataType]] = {}

    def add(name: str, value: pl.Expr, dtype: pl.DataType) -> None:
        if isinstance(dtype, pl.Struct) and dtype.fields:
            for one in dtype.fields:
                add(f"{name}.{one.name}", value.struct.field(one.name), one.dtype)  # type: ignore[arg-type]  # an instance
        else:
            found.setdefault(name, (as_text(value, dtype), dtype))

    for name, dtype in schema.items():
        add(name, pl.col(name), dtype)
    return found


def _cell(text: str | None, dtype: pl.DataType) -> str:
    """A number is no formula, even where it begins like one."""
    return text or "" if dtype.is_numeric() else escape(text or "")


def last_run(state: Path) -> Path | None:
    """The folder of the run that wrote its summary last. Names tell seconds, and two runs may begin within one."""
    summaries = (state / RUNS).glob("*/summary.json") if (state / RUNS).is_dir() else []
    newest = max(summaries, key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def _printable(text: str) -> str:
    """Without the control characters that a terminal or a spreadsheet would obey."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@contextmanager
def _storage(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{doing}: {path}: {error.strerror or error}",
            hint="make room or mend the permissions, then run again: what was sent is recorded",
        ) from error
