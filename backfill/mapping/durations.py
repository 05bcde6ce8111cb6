"""Durations as mappings and flags say them: `72h`, `3d`, `90m`."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["DurationError", "duration_words", "parse_duration"]

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
# Nothing that is kept in days is older than an export; and no date of these years is left of a longer one.
_LONGEST = timedelta(days=36_525)
_HINT = "a whole number with s, m, h, d or w, as in 72h, 3d or 90m"


class DurationError(ValueError):
    """A text that is no duration; `hint` says what would be."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message)
        self.hint = hint


def parse_duration(text: str) -> timedelta:
    """`72h` as 72 hours: one whole number and one unit (s, m, h, d, w). Raises DurationError for anything else."""
    found = re.fullmatch(r"([0-9]{1,12})([smhdw])", text)
    if found is None:
        raise DurationError("is no duration", _near(text) or _HINT)
    number, unit = int(found[1]), f"{_UNITS[found[2]]}s"
    if number > _LONGEST / timedelta(**{unit: 1}):
        raise DurationError("is more than 100 years")
    return timedelta(**{unit: number})


def duration_words(text: str) -> str:
    """`72 hours`, in the unit that the text has; `parse_duration` takes it."""
    number, unit = int(text[:-1]), _UNITS[text[-1]]
    return f"{number:,} {unit}" + ("" if number == 1 else "s")


def _near(text: str) -> str:
    """`72 Hours` is meant as 72h, and a number alone as nothing in particular."""
    found = re.fullmatch(r"\s*([0-9]{1,12})\s*([a-z]+)\s*", text.casefold())
    if found is None:
        return ""
    words = {"min": "m", "mins": "m", "sec": "s", "secs": "s", "hr": "h", "hrs": "h"}
    words |= {form: unit for unit, name in _UNITS.items() for form in (unit, name, f"{name}s")}
    unit = words.get(found[2])
    return f'did you mean "{found[1]}{unit}"?' if unit else ""
