"""Where events go, and with which secret: checked before the first byte leaves."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import httpx

from backfill import api
from backfill.errors import SettingsError

__all__ = ["Target", "check_base_url"]

# Unreserved characters only (RFC 3986): nothing that a server could take for the end of the segment.
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]{1,100}")


def check_base_url(url: str) -> str:
    """The base URL without a closing slash; SettingsError when a secret must not be sent there.

    Refused: http:// to anything but this machine, user:password@, a query or fragment, what is no URL. The
    message never holds the URL's password.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.host
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise SettingsError("the base URL is not a URL", hint=f"it should look like {api.BASE_URL}") from None
    place = f"{parsed.scheme}://{host}"
    if parsed.scheme not in ("http", "https") or not host or not 0 < (parsed.port or 1) < 65536:
        raise SettingsError(
            "the base URL has to begin with https:// and name a host, with a port that exists",
            hint=f"it should look like {api.BASE_URL}",
        )
    if parsed.userinfo:
        raise SettingsError(
            f"the base URL holds a user or password ({place})",
            hint="leave it out: the secret comes from REDO_API_SECRET or REDO_API_SECRET_FILE",
        )
    if parsed.scheme == "http" and not _is_this_machine(host):
        raise SettingsError(
            f"the base URL {place} is not encrypted, and the secret would be readable on its way",
            hint="use https://; http:// is for this machine only (localhost, 127.0.0.1, [::1])",
        )
    if parsed.query or parsed.fragment or url.rstrip().endswith(("?", "#")):
        raise SettingsError(
            f"the base URL {place} has a query or a fragment", hint=f"it should look like {api.BASE_URL}"
        )
    return str(parsed).rstrip("/")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Target:
    """One store's call, and the secret for it. `bulk`: the call that takes up to 100 events.

    SettingsError for a URL, store or secret that can't be used; its message never holds the secret.
    """

    base_url: str
    store: str
    secret: str = field(repr=False)
    bulk: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", check_base_url(self.base_url))
        if not _SEGMENT.fullmatch(self.store) or not self.store.strip("."):
            raise SettingsError(
                f"the store id {self.store[:100]!r} can't be one",
                hint="it looks like 64e5a8a1af49a89df37e4ee7",
            )
        if not self.secret:
            raise SettingsError("there is no secret", hint="set REDO_API_SECRET or REDO_API_SECRET_FILE")
        if not (self.secret.isascii() and self.secret.isprintable()) or " " in self.secret:
            raise SettingsError(
                "the secret holds a space, a line break or a character outside ASCII",
                hint="copy it again into REDO_API_SECRET or REDO_API_SECRET_FILE",
            )

    @property
    def url(self) -> str:
        return (api.bulk_url if self.bulk else api.event_url)(self.base_url, self.store)
