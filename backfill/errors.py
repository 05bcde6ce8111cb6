"""Every error that backfill raises, sorted by what the user must do about it.

BackfillError
├── StoresError            the gravest of what ended the runs of many stores
├── UsageError          2    call the command otherwise
├── LockedError        11    wait for the other run, or stop it
├── ExportError        65    mend or fetch the export again
├── BugError           70    report it to us
├── StorageError       74    make room, mend the disk or the ledger
├── StoppedError       75    run again, later
├── AccessError        77    mend the secret or the store id
├── SettingsError      78    mend the settings
│   └── MappingError   78    mend the mapping: every problem at once
└── InterruptedRun  130/143  run again when it suits
"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

__all__ = [
    "AccessError",
    "BackfillError",
    "BugError",
    "ExportError",
    "InterruptedRun",
    "LockedError",
    "MappingError",
    "MappingProblem",
    "SettingsError",
    "StoppedError",
    "StorageError",
    "StoresError",
    "Terminated",
    "UsageError",
    "as_told",
    "gravest",
    "of_stores",
    "signal_of",
]

MOST_TOLD = 10


class BackfillError(Exception):
    """What was being done, where, and why it failed, in one message; `hint` says what to do now."""

    exit_status: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def status(self) -> int:
        """The exit status of a command that ends with this error."""
        return self.exit_status


class UsageError(BackfillError):
    """The command was called in a way that it does not take."""

    exit_status = 2


class LockedError(BackfillError):
    """Another run holds the ledger; the message names its host, process and start."""

    exit_status = 11


class ExportError(BackfillError):
    """A file of the export can't be read, or changed while it was read."""

    exit_status = 65


class BugError(BackfillError):
    """Numbers that do not balance, or a state that can't be: ours to mend."""

    exit_status = 70


class StorageError(BackfillError):
    """The disk or the ledger failed; sending had stopped before."""

    exit_status = 74


class StoppedError(BackfillError):
    """The API is out of reach, or asks for a long pause: events are left for the next run."""

    exit_status = 75


class AccessError(BackfillError):
    """The secret or the store was refused."""

    exit_status = 77


class SettingsError(BackfillError):
    """A flag, environment variable or setting of the mapping can't be used."""

    exit_status = 78


@dataclass(frozen=True, slots=True, order=True)
class MappingProblem:
    """One mistake in a mapping file, at its place.

    `line` and `column` count from 1; 0 means that the place is not known.
    """

    line: int
    column: int
    message: str = field(compare=False)
    hint: str = field(default="", compare=False)

    def render(self, file: str) -> str:
        """`orders.yaml:14:9: no column "emial" in orders.csv; did you mean "email"?`"""
        place = f"{file}:{self.line}:{self.column}" if self.line else file
        return f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class MappingError(SettingsError):
    """All that is wrong with one mapping file; `str()` gives a line for each problem."""

    def __init__(self, file: str, problems: list[MappingProblem]) -> None:
        self.file = file
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.render(file) for problem in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.file, self.problems)


# Of what can end the runs of many stores the first here tells how they ended as a whole: what is ours or the disk's to
# mend before anything else, then what only the user can, then what another run mends by itself.
GRAVEST_FIRST = (70, 74, 78, 77, 65, 75, 11, 2, 143, 130, 3, 0)


def gravest(statuses: Iterable[int]) -> int:
    """The exit status of many stores' runs as a whole."""
    order = {status: place for place, status in enumerate(GRAVEST_FIRST)}
    return min(statuses, key=lambda status: order.get(status, -1), default=0)


class StoresError(BackfillError):
    """What ended the runs of some of many stores; its status is the gravest of theirs."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self._status = status

    @property
    def status(self) -> int:
        return self._status


def of_stores(errors: Mapping[str, BackfillError]) -> StoresError:
    """One error of those of many stores, each by its store's name: a line for each."""
    same: dict[str, list[str]] = {}
    for store, error in errors.items():
        same.setdefault(error.message, []).append(store)
    lines = [f"{_few(stores)}: {message}" for message, stores in same.items()]
    if len(lines) > MOST_TOLD:
        lines[MOST_TOLD:] = [f"and {len(lines) - MOST_TOLD:,} more such lines"]
    hints = dict.fromkeys(error.hint for error in errors.values() if error.hint)
    status = gravest(error.status for error in errors.values())
    return StoresError("\n".join(lines), status=status, hint="; ".join(list(hints)[:MOST_TOLD]))


def _few(stores: list[str]) -> str:
    more = len(stores) - MOST_TOLD
    return ", ".join(stores[:MOST_TOLD]) + (f" and {more:,} more stores" if more > 0 else "")


class InterruptedRun(BackfillError):
    """SIGINT (130) or SIGTERM (143): what was sent is recorded."""

    def __init__(self, message: str, *, signal: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.signal = signal

    def __reduce__(self) -> tuple[object, ...]:
        # What goes from one process to another is made anew there.
        return partial(type(self), self.message, signal=self.signal, hint=self.hint), ()

    @property
    def status(self) -> int:
        return 128 + self.signal


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it comes. As Ctrl-C it is no Exception: code that catches any of those lets it pass."""


def signal_of(error: KeyboardInterrupt) -> int:
    """The signal that it stands for."""
    return signals.SIGTERM if isinstance(error, Terminated) else signals.SIGINT


def as_told(error: BaseException) -> BackfillError:
    """Any error as what a user is told of it: one that was not foreseen is a bug of ours."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BackfillError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRun("interrupted", signal=signal_of(error), hint="run the same command again")
    # Without the error's own words: they could hold a customer's data.
    return BugError(
        f"an error that was not foreseen: {type(error).__name__}",
        hint="please report it: `backfill --debug …` shows the traceback; look at what it holds before you send it",
    )
