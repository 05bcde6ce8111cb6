"""Rows → events: a mapping is compiled once to Polars expressions, which make the JSON of each row's
events.
"""

from __future__ import annotations

from backfill.shape.columns import Columns
from backfill.shape.problems import PROBLEMS, Advice, Notice, advice
from backfill.shape.shaper import (
    BAD,
    CURRENCY,
    EVENT,
    HEAD,
    ID,
    KEY,
    NAME,
    TAIL,
    TIME,
    VALUE,
    Shaped,
    Shaper,
    compile_shaper,
)
from backfill.shape.since import SINCE, Since

__all__ = [
    "BAD",
    "CURRENCY",
    "EVENT",
    "HEAD",
    "ID",
    "KEY",
    "NAME",
    "PROBLEMS",
    "SINCE",
    "TAIL",
    "TIME",
    "VALUE",
    "Advice",
    "Columns",
    "Notice",
    "Shaped",
    "Shaper",
    "Since",
    "advice",
    "compile_shaper",
]
