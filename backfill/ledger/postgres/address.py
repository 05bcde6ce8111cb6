"""Where a ledger's server is: the URL as libpq reads it, and as it may be shown, which is without its password."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from backfill.errors import SettingsError

__all__ = ["Address", "has_password", "parse"]

_SCHEMES: Final = ("postgresql://", "postgres://")
_HINT: Final = (
    "It looks like postgresql://user@host:5432/database. A password stands better in ~/.pgpass or PGPASSWORD; within "
    "the URL, letters such as @ / ? # are written %40 %2F %3F %23."
)
# A server that is gone is noticed within half a minute, where the user has not said otherwise.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SECRETS: Final = ("password", "sslpassword")


@dataclass(frozen=True, slots=True)
class Address:
    """What libpq is given, and what people are shown. The parameters are in no repr: one may be a password."""

    shown: str
    parameters: Mapping[str, Any] = field(repr=False)

    def without_secrets(self, text: str) -> str:
        """A text of others' as it may be shown."""
        for name in _SECRETS:
            if secret := self.parameters.get(name):
                text = text.replace(str(secret), "***")
        return text


def parse(url: str, *, writes: bool) -> Address:
    """The address that a URL means. Raises SettingsError, without the URL's own words, for one that means none."""
    if not url.startswith(_SCHEMES):
        raise SettingsError("the ledger's address is no PostgreSQL URL (postgresql://…)", hint=_HINT)
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise SettingsError(
            "a ledger in PostgreSQL needs psycopg, which is not installed here",
            hint="pip install 'backfill[postgres]'",
        ) from error
    authority, _, rest = url.partition("://")[2].partition("/")
    # libpq takes a password's @ for the end of the password: what comes after it would be shown as the host.
    if authority.partition("?")[0].count("@") > 1 or "@" in rest or "@" in authority.partition("?")[2]:
        raise SettingsError("the ledger's URL can't be read: it has an @ that is not written %40", hint=_HINT)
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except ProgrammingError:
        # libpq's words quote the URL.
        raise SettingsError("the ledger's URL can't be read", hint=_HINT) from None
    if not all(port.isdecimal() for port in given.get("port", "0").split(",")):
        # It may be a password whose host was left out.
        raise SettingsError("the ledger's URL can't be read: its port is no number", hint=_HINT)
    own = {"client_encoding": "utf8", "application_name": f"backfill on {socket.gethostname()}"[:60]}
    if writes:
        own["target_session_attrs"] = "read-write"
    return Address(_shown(given), {**_DEFAULTS, **own, **given})


def has_password(url: str) -> bool:
    """Whether a URL holds a password, as far as it can be read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return ":" in parts.netloc.rpartition("@")[0] or "password=" in parts.query.lower()


def _shown(given: Mapping[str, str]) -> str:
    host = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST", "")
    port = given.get("port") or os.environ.get("PGPORT", "")
    name = given.get("dbname") or os.environ.get("PGDATABASE", "")
    service = given.get("service") or os.environ.get("PGSERVICE", "")
    if service and not host:
        return f"postgresql service {service}"
    hosts, ports = (host or "localhost").split(","), port.split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    places = zip(hosts, ports, strict=True)
    if hosts[0].startswith("/"):
        return f"postgresql:///{name}?host={','.join(hosts)}"
    return f"postgresql://{','.join(f'{one}:{at}' if at else one for one, at in places)}" + (f"/{name}" if name else "")
