"""Ctrl-C comes between any two steps of a call: what the call did is kept whole or not at all, and the ledger goes on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import backfill.ledger
from backfill.ledger import RunInfo, Target, key
from backfill.records import Outcome
from tests.ledger.conftest import Ledgers

# A library's own code may be interrupted, too, but what becomes of that is its makers' promise.
WATCHED = (str(Path(backfill.ledger.__file__).parent), contextlib.__file__)


def interrupted_at(step: int, call: Callable[[], object]) -> bool:
    """Call, and have Ctrl-C come at a step of the ledger's code; whether the call had so many."""
    left = step

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_recording(ledgers: Ledgers, state: Path, target: Target, accept: Callable[..., Outcome]) -> None:
    with ledgers.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("orders"))
        ledger.record([accept(["order:1", "order:2"])], run)
        step, kept = 0, 2
        while True:
            ids = [f"order:{step}-{number}" for number in range(3)]
            more = interrupted_at(step, lambda ids=ids: ledger.record([accept(ids)], run))
            found, _ = ledger.look_up([key(one) for one in ids])
            assert len(found) in (0, 3), step
            kept += len(found)
            if not more:
                break
            step += 1
        assert len(found) == 3
        assert step > 100
        ledger.end_run(run, 130, {})
        assert ledger.totals().accepted == {"Order Placed": kept}
    with ledgers.read(state, target) as ledger:
        assert ledger.totals().accepted == {"Order Placed": kept}
        assert ledger.runs()[0].accepted == kept


def test_looking_up(ledgers: Ledgers, state: Path, target: Target, accept: Callable[..., Outcome]) -> None:
    with ledgers.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("orders"))
        ledger.record([accept(["order:1", "order:2"])], run)
        keys = [key("order:1"), key("order:3")]
        step = 0
        while interrupted_at(step, lambda: ledger.look_up(keys)):
            found, _ = ledger.look_up(keys)
            assert set(found) == {keys[0]}, step
            if step % 10 == 0:
                ledger.end_run(run, 130, {})
            step += 1
        assert step > 50
