"""The folder of one run: summary.json, rejected.csv, rejected.ndjson, changed.ndjson, report.html."""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import polars as pl

from backfill.errors import StorageError
from backfill.read import REPORT_COLUMNS, escape
from backfill.records import FILE, ROW, Outcome, Rejection

__all__ = ["RunFolder", "last_run"]

RUNS = "runs"
GROUP = ":group"


class RunFolder:
    """Writes one run's files. Folders are made 0700, files 0600: they hold customers' rows.

    What is written as the run goes on (rejected rows) is flushed line by line; what is written at its end replaces a
    file whole or not at all.
    """

    def __init__(self, state: Path, now: datetime, name: Callable[[int], str], columns: list[str]) -> None:
        self.path = state / RUNS / f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        with _storage(self.path, "making the run's folder"):
            for folder in (state, state / RUNS, self.path):
                folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        self._name = name
        self._columns = columns
        self._files: dict[str, IO[str]] = {}

    def reject_rows(self, frame: pl.DataFrame, rejections: list[Rejection]) -> None:
        """Write rows that hold rejections to rejected.csv, as they were, with what is wrong with them.

        A group's rows all go: what is imported again has to be whole.
        """
        wrong: dict[tuple[int, int], list[Rejection]] = {}
        for rejection in rejections:
            wrong.setdefault((rejection.file, rejection.row), []).append(rejection)
        seen: set[tuple[int, int]] = set()
        for row in self._rows(frame, wrong):
            place = (row[FILE], row[ROW])
            mine = wrong.get(place, [])
            seen.add(place)
            self._reject(row, mine, *place)
        for place, mine in wrong.items():
            if place not in seen:
                self._reject({}, mine, *place)

    def _rows(self, frame: pl.DataFrame, wrong: dict[tuple[int, int], list[Rejection]]) -> Iterator[dict[str, Any]]:
        if not frame.height:
            return
        places = pl.DataFrame(
            {FILE: [file for file, _ in wrong], ROW: [row for _, row in wrong]},
            schema={FILE: frame.schema[FILE], ROW: frame.schema[ROW]},
        )
        hits = frame.join(places, on=[FILE, ROW], how="semi", maintain_order="left")
        if GROUP in frame.columns:
            hits = frame.filter(pl.col(GROUP).is_in(hits[GROUP].implode()))
        yield from hits.iter_rows(named=True)

    def _reject(self, row: dict[str, Any], rejections: list[Rejection], file: int, number: int) -> None:
        cells = [_cell(row.get(column)) for column in self._columns]
        problem = rejections[0].problem if rejections else ""
        detail = "; ".join(dict.fromkeys(rejection.detail for rejection in rejections))
        place = [escape(problem), escape(_printable(detail)), escape(self._name(file)), str(number)]
        with _storage(self.path / "rejected.csv", "writing a rejected row"):
            csv.writer(self._open("rejected.csv")).writerow([*cells, *place])

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
        with _storage(self.path / name, "writing the report"):
            self._open(name).write(json.dumps(value, ensure_ascii=False) + "\n")

    def _open(self, name: str) -> IO[str]:
        if name not in self._files:
            file = os.fdopen(
                os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
                "w",
                encoding="utf-8",
                newline="",
                errors="backslashreplace",
                buffering=1,
            )
            self._files[name] = file
            if name == "rejected.csv":
                csv.writer(file).writerow([*self._columns, *REPORT_COLUMNS])
        return self._files[name]

    def write(self, name: str, text: str) -> Path:
        """Write a whole file: after a crash there is the old one or the new one, never half."""
        path = self.path / name
        with _storage(path, "writing the report"):
            temporary = path.with_name(f".{name}.new")
            with os.fdopen(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        return path

    def close(self) -> None:
        """Close the files that are written as the run goes on."""
        for file in self._files.values():
            with _storage(self.path, "closing the report"):
                file.close()

    def has(self, name: str) -> bool:
        """Whether the run wrote such a file."""
        return (self.path / name).exists()


def last_run(state: Path) -> Path | None:
    """The folder of the run that wrote its summary last. Names tell seconds, and two runs may begin within one."""
    summaries = (state / RUNS).glob("*/summary.json") if (state / RUNS).is_dir() else []
    newest = max(summaries, key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict | list):
        return escape(json.dumps(value, ensure_ascii=False, default=str))
    if isinstance(value, bool):
        return str(value).lower()
    # A negative number starts like a formula and is none.
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


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
