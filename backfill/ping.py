"""A dead man's switch: an address that is called when a run begins and ends, and alarms when it is not called in time.

The way of https://healthchecks.io/docs/http_api/: URL/start when a run begins, URL when it ended with exit status 0,
URL/<exit status> when with another. Nothing else is told, no names, no numbers, but of a success that is suspicious a
warning: it becomes the body of a POST, which such services keep beside the call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from backfill import __version__
from backfill.errors import SettingsError

__all__ = ["ping", "ping_host", "ping_said", "ping_url"]

SECONDS = 10.0
ATTEMPTS = 2
_NO_POST = (400, 404, 405, 501)
HINT = "it looks like https://hc-ping.com/5f1e7c0d-9b1c-4a6e-8c55-0d5f2a1b7c3e"


def ping_url(url: str, end: str = "") -> str:
    """The address to call: `end` becomes the last part of its path. Raises SettingsError for what is no address."""
    # Without the URL itself: who knows it can keep the switch quiet.
    try:
        parts = urlsplit(url.strip())
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError as error:
        raise SettingsError("the address of --ping can't be read", hint=HINT) from error
    if not fine or not url.isprintable() or " " in url.strip():
        raise SettingsError("the address of --ping (or BACKFILL_PING) is not an http or https URL", hint=HINT)
    path = parts.path.rstrip("/") + f"/{end}" if end else parts.path
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def ping_said(environment: Mapping[str, str] = os.environ) -> str | None:
    """The address in the file that BACKFILL_PING_FILE names, if any. Raises SettingsError if that can't be read."""
    if not (file := environment.get("BACKFILL_PING_FILE")):
        return None
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"BACKFILL_PING_FILE: can't read {file}: {reason}",
            hint="give the path of a file that holds the address of --ping and that you may read",
        ) from None


def ping_host(url: str) -> str:
    """The address without what only its owner knows: https://hc-ping.com/. Raises SettingsError as `ping_url` does."""
    parts = urlsplit(ping_url(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def ping(url: str, *, attempts: int = ATTEMPTS, body: str = "") -> str | None:
    """Call an address (as `ping_url` gives it); in words why nobody took the call, or None when somebody did.

    A `body` is sent to a service that takes one; one that takes no POST is called without.
    """
    import httpx

    why = ""
    # Connecting and waiting for the answer take so long together at most.
    timeout = httpx.Timeout(SECONDS / 2)
    for _ in range(attempts):
        try:
            with (
                httpx.Client(timeout=timeout, headers={"User-Agent": f"backfill/{__version__}"}) as client,
                client.stream("POST" if body else "GET", url, content=body or None) as answer,
            ):
                if answer.is_success:
                    return None
                if body and answer.status_code in _NO_POST:
                    return ping(url, attempts=attempts)
                why = f"the answer was {answer.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # Without the error's own words: some hold the URL.
            why = "no answer in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__
    return f"{urlsplit(url).hostname} did not take the ping: {why}"
