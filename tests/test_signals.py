"""SIGTERM ends a command with 143, wherever it comes: nothing that catches errors catches it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from backfill.ahead import ahead
from backfill.cli import backfill, guarded
from backfill.signals import kept


def ended(work: Callable[[], object]) -> int:
    """How a command ends that does this."""
    with kept():
        return guarded(work, debug=False)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_no_code_that_catches_errors_catches_it(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with contextlib.suppress(Exception):
            terminate()

    assert ended(work) == 143
    assert "interrupted" in capsys.readouterr().err


def test_click_tells_which_it_was() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):

        @backfill.command(f"raise-{number}")
        def command(number: int = number) -> None:
            signal.raise_signal(number)

        try:
            name = str(command.name)
            assert ended(lambda name=name: backfill.main([name], standalone_mode=False)) == 128 + number
        finally:
            del backfill.commands[name]


@pytest.mark.parametrize("nth", [0, 1, 2])
def test_while_a_thread_starts(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    start: Callable[..., object] = getattr(threading, name)
    begun = []

    def starting(*arguments: Any, **options: Any) -> object:
        begun.append(1)
        started = start(*arguments, **options)
        if len(begun) == nth + 1:
            terminate()
        return started

    monkeypatch.setattr(threading, name, starting)
    assert ended(lambda: list(ahead(range(5), lambda number: number))) == 143
    assert len(begun) == nth + 1
    until = time.monotonic() + 10
    while any(thread.name.startswith(("read", "work")) for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("interrupted")
