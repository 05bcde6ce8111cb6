"""What a terminal can show, and plain text made fit for it. What goes to a pipe or a file never comes through here."""

from __future__ import annotations

import codecs
import os
import re
import textwrap
from typing import IO, TextIO

__all__ = ["can_move", "colourful", "fit_streams", "for_terminal", "in_letters", "laid_out", "painted"]

WIDTH, LEAST_WIDTH, MOST_WIDTH = 80, 20, 100
DUMB = ("dumb", "unknown")
# Our own signs for terminals and files that have none.
LETTERS = str.maketrans({"…": "...", "—": "-", "–": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "×": "x", "±": "+-"})  # noqa: RUF001
BOLD, RED, YELLOW, GREEN = "1", "31", "33", "32"


def is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def can_move(stream: IO[str]) -> bool:
    """Whether it is a terminal on which lines can be drawn anew."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in DUMB


def colourful(stream: IO[str]) -> bool:
    """Whether it is a terminal that shows colours, and the user wants any (https://no-color.org)."""
    return can_move(stream) and not os.environ.get("NO_COLOR")


def width_of(stream: IO[str]) -> int:
    """The terminal's columns, within reason: a line of 200 letters is no pleasure to read."""
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = WIDTH
    return max(LEAST_WIDTH, min(width or WIDTH, MOST_WIDTH))


def for_terminal(text: str, stream: IO[str], *, colours: bool = True) -> str:
    """The text as it is shown on this stream: on a terminal within its width, and painted; elsewhere as it is."""
    if not is_terminal(stream):
        return text
    text = laid_out(text, width_of(stream))
    return painted(text) if colours and colourful(stream) else text


def laid_out(text: str, width: int) -> str:
    """Long lines in several, each a little further in; a path stays in one, so that it can be copied."""
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width or re.match(r"[\w. ]+: (/|https?:)", line):
        return line
    indent = re.match(r" *", line)[0]  # type: ignore[index]  # it matches nothing, too
    return textwrap.fill(
        line[len(indent) :],
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def painted(text: str) -> str:
    """Headings and counts of `report.text` in bold, what is rejected in red. The letters stay the same."""
    for pattern, style in _PAINT:
        text = pattern.sub(lambda found, style=style: _in(style, found), text)  # type: ignore[misc]
    return text


# The first group is what is painted.
_PAINT = tuple(
    (re.compile(pattern, re.MULTILINE), style)
    for pattern, style in (
        (r"^(Rejected:)$", f"{BOLD};{RED}"),
        (r"^(Suspicious:)$", f"{BOLD};{YELLOW}"),
        (r"^  (\d[\d,]*) x ", BOLD),
        (r"^(rows|events|next|report|To [^\n]+):(?= |$)", BOLD),
        (r"^\d[\d,]* events?: (\d[\d,]* ready)", f"{BOLD};{GREEN}"),
        (r"^\d[\d,]* events?: [^\n]*?(\b[1-9][\d,]* invalid)", f"{BOLD};{RED}"),
        (r"^(\d[\d,]* events?)(?::| in )", BOLD),
        (r"^(These events may start live flows[^\n]*)$", YELLOW),
    )
)


def _in(style: str, found: re.Match[str]) -> str:
    whole, at = found[0], found.start()
    start, stop = found.start(1) - at, found.end(1) - at
    return f"{whole[:start]}\x1b[{style}m{whole[start:stop]}\x1b[0m{whole[stop:]}"


def in_letters(text: str) -> str:
    """Our own signs (dashes, quotes, an ellipsis) as ASCII has them."""
    return text.translate(LETTERS)


def fit_streams(*streams: TextIO) -> None:
    """What a stream's encoding has no sign for is written otherwise, instead of ending the command.

    On a terminal that is ours to simplify; in a file each sign is kept, as JSON writes it.
    """
    codecs.register_error("backfill.shown", _shown)
    codecs.register_error("backfill.kept", _kept)
    for stream in streams:
        if not (stream.encoding or "").lower().startswith("utf"):
            stream.reconfigure(errors="backfill.shown" if is_terminal(stream) else "backfill.kept")  # type: ignore[attr-defined]


def _shown(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(LETTERS.get(ord(sign)) or _escape(sign) for sign in signs), error.end


def _kept(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_escape, error.object[error.start : error.end])), error.end


def _escape(sign: str) -> str:
    number = ord(sign)
    if number < 0x10000:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
