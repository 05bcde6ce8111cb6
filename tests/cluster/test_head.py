"""Whether the cluster's head is there, as the driver sees it."""

from __future__ import annotations

import socket

import pytest

from backfill.cluster.head import Head
from backfill.errors import StoppedError


def test_one_that_is_away_for_longer_than_it_may_be_is_gone() -> None:
    time = 0.0
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        head = Head(f"127.0.0.1:{port}", patience=20.0, now=lambda: time)
        head.look()
        head.check()
    with pytest.raises(OSError, match=r"."):
        head.knock()
    head.look()
    time = 19.0
    head.look()
    head.check()
    # It is back, as one is that was moved.
    with socket.create_server(("127.0.0.1", port)):
        head.look()
    time = 30.0
    head.look()
    time = 49.0
    head.look()
    assert not head.gone
    time = 50.0
    head.look()
    with pytest.raises(StoppedError, match="has not answered for 20 s") as raised:
        head.check()
    assert "run again" in str(raised.value.hint)
    # What was told once stays so: the run is on its way to its end.
    with socket.create_server(("127.0.0.1", port)):
        head.look()
    assert head.gone
