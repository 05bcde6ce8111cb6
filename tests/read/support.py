"""What the tests of reading share: an export of some files, and all that is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from backfill.mapping import CsvOptions, Source
from backfill.read import Export, open_export
from backfill.records import FILE, ROW, Rejection


@dataclass
class Content:
    """All chunks of an export: `rows` without FILE and ROW, `lines` the ROW of each, and what was refused: rows, files."""

    export: Export
    rows: list[tuple[Any, ...]]
    lines: list[int]
    files: list[int]
    bad: list[Rejection]
    unread: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return list(self.export.schema)

    @property
    def problems(self) -> list[tuple[int, str]]:
        return [(bad.row, bad.problem) for bad in self.bad]


def opened(base: Path, *entries: str, file_format: str | None = None, **csv: Any) -> Export:
    """The export of some entries, or of all of `base`."""
    return open_export(Source(files=list(entries) or ["."], format=file_format, csv=CsvOptions(**csv)), base)


def content(export: Export) -> Content:
    found = Content(export, [], [], [], [])
    for chunk in export.chunks():
        assert chunk.frame.schema == {**export.schema, FILE: pl.UInt32(), ROW: pl.UInt64()}
        found.lines += chunk.frame[ROW].to_list()
        found.files += chunk.frame[FILE].to_list()
        found.rows += chunk.frame.drop(FILE, ROW).rows()
        found.bad += chunk.unreadable
        found.unread += [chunk.unread.why] if chunk.unread else []
    return found


def read_text(folder: Path, data: str | bytes, name: str = "a.csv", **csv: Any) -> Content:
    """The content of one file that holds `data`."""
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return content(opened(folder, name, **csv))
