"""A shop, and a sandbox on a real socket for it to send to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from backfill.sandbox import Faults, Options, SandboxThread
from tests.end_to_end.support import Shop

Start = Callable[..., SandboxThread]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("latency=5", secrets=…)`: a sandbox in this process, without a rate limit unless one is given."""
    with ExitStack() as running:

        def make(faults: str = "", **options: Any) -> SandboxThread:
            chosen = Options(**{"rate": None, "faults": Faults.parse(faults), **options})
            return running.enter_context(SandboxThread(chosen))

        yield make


@pytest.fixture
def box(start: Start) -> SandboxThread:
    """A sandbox that does as it should."""
    return start()


@pytest.fixture
def shop(lone_shop: Shop, box: SandboxThread) -> Shop:
    """A shop that sends to `box`."""
    lone_shop.env["REDO_BASE_URL"] = box.base_url
    return lone_shop


@pytest.fixture
def lone_shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop without a server: the test says where it sends, if it does."""
    made = Shop(tmp_path)
    yield made
    made.close()
