"""Sandboxes on real sockets, and a client that may write to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from backfill.sandbox import Options, SandboxThread

Start = Callable[..., SandboxThread]
Event = Callable[..., dict[str, Any]]

_EVENT: dict[str, Any] = {"eventName": "Order Placed", "customer": {"email": "ada@example.com"}}


@pytest.fixture
def event() -> Event:
    """`event(uniqueId="a")`: a valid event with these fields set; a field set to ... is left out."""

    def make(**fields: Any) -> dict[str, Any]:
        made = copy.deepcopy(_EVENT) | fields
        return {key: value for key, value in made.items() if value is not ...}

    return make


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(rate=5)`: a running sandbox with these options; without a rate limit, unless one is given."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(SandboxThread(Options(**{"rate": None, **options})))


@pytest.fixture
def connect() -> Iterator[Callable[..., httpx.Client]]:
    """`connect(sandbox)`: a client of that sandbox, with a secret; its paths begin at /stores."""
    with ExitStack() as open_clients:

        def make(sandbox: SandboxThread, **options: Any) -> httpx.Client:
            headers = {"Authorization": "Bearer a-secret", "Content-Type": "application/json"}
            client = httpx.Client(base_url=sandbox.base_url, headers=headers, trust_env=False, **options)
            return open_clients.enter_context(client)

        yield make


@pytest.fixture(scope="module")
def shared() -> Iterator[SandboxThread]:
    """One sandbox for all tests of a module that look at answers only."""
    with SandboxThread(Options(rate=None)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def client(shared: SandboxThread) -> Iterator[httpx.Client]:
    """A client of `shared`."""
    headers = {"Authorization": "Bearer a-secret", "Content-Type": "application/json"}
    with httpx.Client(base_url=shared.base_url, headers=headers, trust_env=False) as made:
        yield made
