"""What a run leaves behind for people and programs: its folder, its summary, its page."""

from __future__ import annotations

from backfill.report.ending import describe, passed_over_text, since_text
from backfill.report.folder import RUN_FOLDERS, RunFolder, last_run
from backfill.report.page import render
from backfill.report.summary import check_data, new_names_data, problems_of, sends_data, summarize

__all__ = [
    "RUN_FOLDERS",
    "RunFolder",
    "check_data",
    "describe",
    "last_run",
    "new_names_data",
    "passed_over_text",
    "problems_of",
    "render",
    "sends_data",
    "since_text",
    "summarize",
]
