"""Durations are one whole number and one unit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.mapping import DurationError, duration_words, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("0s", 0, "0 seconds"),
        ("1s", 1, "1 second"),
        ("90m", 5_400, "90 minutes"),
        ("72h", 259_200, "72 hours"),
        ("3d", 259_200, "3 days"),
        ("1w", 604_800, "1 week"),
        ("36525d", 36_525 * 86_400, "36,525 days"),
    ],
)
def test_what_they_say(text, seconds, words):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert duration_words(text) == words


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("72", "a whole number"),
        ("", "a whole number"),
        ("-3d", "a whole number"),
        ("1.5h", "a whole number"),
        ("1d12h", "a whole number"),
        ("٣d", "a whole number"),
        ("3d\n", 'did you mean "3d"?'),
        ("72H", 'did you mean "72h"?'),
        ("3 days", 'did you mean "3d"?'),
        ("90 mins", 'did you mean "90m"?'),
        ("36526d", "a whole number"),
        ("9" * 12 + "w", "a whole number"),
        ("1y", "a whole number"),
    ],
)
def test_what_is_none(text, hint):
    with pytest.raises(DurationError) as caught:
        parse_duration(text)
    assert caught.value.hint.startswith(hint)


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,6}[smhdwy]?", fullmatch=True))
def test_any_text_is_one_or_is_refused(text):
    try:
        found = parse_duration(text)
    except DurationError:
        return
    assert found >= timedelta()
    assert duration_words(text)
