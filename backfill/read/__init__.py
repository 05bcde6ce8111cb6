"""Files of an export → chunks of rows, each row with its file and its physical line.

`open_export` finds the files and reads their headers; `Export.chunks` reads the rows, one bounded block after
the other. A row that can't be read is in its chunk's `unreadable`; a file that can't be is a chunk's `unread`, or an
ExportError where it is the only one.
"""

from __future__ import annotations

from backfill.read.export import Export, OpenedFile, open_export, unread_error
from backfill.read.repaired import REPORT_COLUMNS, ReportCsv, escape, read_report, report_like
from backfill.read.split import PART_BYTES, split
from backfill.read.typed import Older

__all__ = [
    "PART_BYTES",
    "REPORT_COLUMNS",
    "Export",
    "Older",
    "OpenedFile",
    "ReportCsv",
    "escape",
    "open_export",
    "read_report",
    "report_like",
    "split",
    "unread_error",
]
