"""The lines at the foot of a terminal that change while it goes on: drawn so that they never wrap, at any width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backfill.terminal import in_letters

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.spinner import Spinner

__all__ = ["Lines", "Now", "laid_out"]

BAR_MOST, BAR_LEAST = 20, 8
LINES_BELOW = 2
SPINNER_WIDTH = 2
# A bar is read without colours as well.
BAR_SIGNS, BAR_LETTERS = ("━", "─"), ("#", "-")


@dataclass(frozen=True, slots=True)
class Now:
    """What is to be seen: `words`, the same ones more and more briefly, the `share` that is done, and more `below`."""

    words: Sequence[str]
    share: float | None = None
    below: str = ""


def laid_out(now: Now, width: int) -> tuple[int, list[str]]:
    """The bar's width (0: none) and the lines of text, the bar's first; with spinner and bar none passes `width`.

    The fullest words that fit; then as much of a bar as there is room for.
    """
    room = max(1, width - SPINNER_WIDTH)
    first = next((words for words in now.words if len(words) <= room), _cut(now.words[-1], room))
    bar = min(BAR_MOST, room - len(first) - 1)
    lines = textwrap.wrap(now.below, room, break_on_hyphens=False) if now.below else []
    if len(lines) > LINES_BELOW:
        lines[LINES_BELOW - 1 :] = [_cut(lines[LINES_BELOW - 1] + " " + lines[LINES_BELOW], room)]
    return (bar if now.share is not None and bar >= BAR_LEAST else 0), [first, *lines]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


class Lines:
    """Shows the latest `Now` at the foot of a terminal (stderr), until it is closed; then they are gone."""

    def __init__(self) -> None:
        self._now = Now([""])
        self._drawn: list[int] = []
        self._live: Live | None = None
        self._spinner: Spinner | None = None

    def show(self, now: Now) -> None:
        """From now on this. A terminal that has gone stops no run."""
        self._now = now
        if self._live is None:
            with suppress(OSError):
                self._start()

    def _start(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._spinner = Spinner("dots" if console.encoding.startswith("utf") else "line")
        self._drawn = []
        self._live = Live(
            self,
            console=console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def close(self) -> None:
        """Nothing is shown any more."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.control import Control
        from rich.segment import ControlType
        from rich.text import Text

        assert self._spinner is not None
        # The last column stays free: written to, it makes some terminals go on to the next line.
        width = max(1, options.max_width - 1)
        bar, lines = laid_out(self._now, width)
        plain = not options.encoding.startswith("utf")
        if plain:
            lines = [in_letters(line) for line in lines]
        if more := self._more_rows(options.max_width):
            yield Control(*[(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * more)
        spinner = self._spinner.render(console.get_time())
        text = Text(str(spinner), style="cyan", no_wrap=True, overflow="crop", end="")
        text.append(" ")
        if bar:
            full, rest = BAR_LETTERS if plain else BAR_SIGNS
            done = int(bar * max(0.0, min(1.0, self._now.share or 0.0)))
            text.append(full * done, "green").append(rest * (bar - done), "bright_black").append(" ")
        text.append(lines[0], "default")
        shown = [text, *(Text("  " + line, "yellow", no_wrap=True, overflow="crop", end="") for line in lines[1:])]
        self._drawn = [line.cell_len for line in shown]
        for number, line in enumerate(shown):
            yield Text("\n", end="") if number else Text("", end="")
            yield line

    def _more_rows(self, width: int) -> int:
        """In a terminal that became narrower what stands there wraps: so many rows more are to be wiped out."""
        return sum(max(0, -(-drawn // width) - 1) for drawn in self._drawn)
