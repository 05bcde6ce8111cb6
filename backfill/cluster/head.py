"""Ray's head: without it nothing new begins anywhere on the cluster, and a call may wait for it for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from backfill.errors import SettingsError, StoppedError

__all__ = ["AUTO", "LOCAL", "Head", "outlive"]

LOCAL = "local"  # a cluster of this machine's, for this run
AUTO = "auto"  # the cluster that this machine is of
KNOCK_SECONDS = 10.0
# A head may be away for so long: moved by Kubernetes, with its state in Redis, it comes back.
PATIENCE = 20.0
POLL_SECONDS = 1.0
# Ray would end this process after 60 s, with status 1 and without a report. In what waits for the head unseen
# (Ray's own code, in the moment in which a store's delivery begins) it still does, after so long.
ENDED_AFTER = 120


def outlive() -> None:
    """Have Ray leave the end of a run whose head is gone to us. Works until Ray is imported."""
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(ENDED_AFTER))


def knock(address: str, seconds: float = KNOCK_SECONDS) -> None:
    """Whether anybody listens there: Ray itself would try for minutes. Raises OSError, SettingsError."""
    host, _, port = address.rpartition(":")
    if address in (LOCAL, AUTO):
        return
    if not host or "/" in host or not port.isdigit():
        raise SettingsError(
            f"--ray {address}: is no address of a cluster",
            hint='as in head:6379, which `ray start --head` prints; "auto" on one of its machines; "local" here',
        )
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()


class Head:
    """Watches the head at `address` from `watch` to `close`; it is gone when it has not answered for `patience` s."""

    def __init__(self, address: str, patience: float = PATIENCE, now: Callable[[], float] = time.monotonic) -> None:
        self._address, self._patience, self._now = address, patience, now
        self._away_since: float | None = None
        self._closed = threading.Event()
        self.gone = False

    def knock(self) -> None:
        """Raises OSError when it does not answer at the moment: then a question to it would wait."""
        knock(self._address, POLL_SECONDS)

    def look(self) -> None:
        """See whether it is there, and for how long it has not been."""
        try:
            self.knock()
        except OSError:
            self._away_since = self._now() if self._away_since is None else self._away_since
            self.gone = self.gone or self._now() - self._away_since >= self._patience
        else:
            self._away_since = None

    def check(self) -> None:
        """Raises StoppedError when it is gone."""
        if self.gone:
            raise self.error()

    def error(self) -> StoppedError:
        """What is told of a run whose head is gone."""
        return StoppedError(
            f"the cluster's head, {self._address}, has not answered for {self._patience:g} s",
            hint="see what became of it (`ray status`), and run again when it is back: what was accepted is recorded",
        )

    def watch(self) -> None:
        """Look every second, in a thread."""

        def on() -> None:
            while not self._closed.wait(POLL_SECONDS):
                self.look()

        threading.Thread(target=on, name="head", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
