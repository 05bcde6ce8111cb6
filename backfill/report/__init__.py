"""What a run leaves behind for people and programs: its folder, its summary, its page; and the page of a check."""

from __future__ import annotations

from backfill.report.course import Course
from backfill.report.data import checked_page, run_page, shown_changes
from backfill.report.ending import describe, passed_over_text, since_text
from backfill.report.folder import (
    RUN_FOLDERS,
    STORES,
    RunFolder,
    StoreFolder,
    last_run,
    rejected_rows,
    waiting_in,
    write_check,
)
from backfill.report.page import render
from backfill.report.stores import stores_check_text, stores_page, whole_check, whole_problems, whole_summary
from backfill.report.summary import check_data, new_names_data, problems_of, sends_data, summarize

__all__ = [
    "RUN_FOLDERS",
    "STORES",
    "Course",
    "RunFolder",
    "StoreFolder",
    "check_data",
    "checked_page",
    "describe",
    "last_run",
    "new_names_data",
    "passed_over_text",
    "problems_of",
    "rejected_rows",
    "render",
    "run_page",
    "sends_data",
    "shown_changes",
    "since_text",
    "stores_check_text",
    "stores_page",
    "summarize",
    "waiting_in",
    "whole_check",
    "whole_problems",
    "whole_summary",
    "write_check",
]
