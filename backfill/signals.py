"""Ctrl-C and SIGTERM, where they must wait."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["later", "undisturbed"]


@contextmanager
def later() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait for the call of what this gives: a run that has begun ends with a report."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    came: list[int] = []

    def restore() -> None:
        while handlers:
            signal.signal(*handlers.popitem())

    def arise() -> None:
        restore()
        if came:
            signal.raise_signal(came[0])

    for number in handlers:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield arise
    finally:
        restore()


@contextmanager
def undisturbed() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM has no effect: what is within takes milliseconds. The second has its usual one."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(*_unused: object) -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    for number in handlers:
        signal.signal(number, restore)
    try:
        yield
    finally:
        restore()
