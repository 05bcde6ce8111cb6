"""Ctrl-C and SIGTERM: where they must wait, and what stands for them in a thread, which no signal reaches."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import anyio

__all__ = ["Stop", "kept", "later", "undisturbed"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL_SECONDS = 0.1


class Stop:
    """Asks a run to stop that is in a thread: a call is one Ctrl-C, or another signal. Any thread may call."""

    def __init__(self) -> None:
        self.came: list[int] = []

    @property
    def asked(self) -> int:
        """How often it was called."""
        return len(self.came)

    def __call__(self, number: int = signal.SIGINT) -> None:
        self.came.append(number)

    def here(self) -> None:
        """The same from within the run's own thread."""
        if _in_main():
            signal.raise_signal(signal.SIGINT)
        else:
            self()

    @contextmanager
    def by_ctrl_c(self) -> Iterator[None]:
        """Ctrl-C calls it, and nothing else, while this thread waits (if it is the main thread)."""
        with kept():
            if _in_main():
                signal.signal(signal.SIGINT, lambda *_: self())
            yield

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """The same for SIGTERM, too."""
        with self.by_ctrl_c():
            if _in_main():
                signal.signal(signal.SIGTERM, lambda number, _frame: self(number))
            yield

    async def coming(self) -> AsyncIterator[int]:
        """The numbers of the signals that come, and of each call."""
        if _in_main():
            with anyio.open_signal_receiver(*SIGNALS) as signals:
                async for number in signals:
                    yield number
        seen = 0
        while True:
            while seen < self.asked:
                seen += 1
                yield self.came[seen - 1]
            await anyio.sleep(POLL_SECONDS)


def _in_main() -> bool:
    """Only there signals come, and may handlers be set."""
    return threading.current_thread() is threading.main_thread()


def _handlers() -> dict[int, signal._HANDLER]:
    return {number: signal.getsignal(number) for number in SIGNALS if _in_main()}


@contextmanager
def kept() -> Iterator[None]:
    """What is within may change the handlers (an event loop leaves the system's own, with which a signal kills)."""
    handlers = _handlers()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def later() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait for the call of what this gives: a run that has begun ends with a report."""
    handlers = _handlers()
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
    handlers = _handlers()

    def restore(*_unused: object) -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    for number in handlers:
        signal.signal(number, restore)
    try:
        yield
    finally:
        restore()
