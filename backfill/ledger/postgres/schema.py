"""The ledger's tables in a PostgreSQL database: made and brought up to date by the first run that needs them.

All is in a schema of its own, `backfill`, and named with it, so that no search path matters.

`events` is partitioned by target: each store's first run makes its own, which alone it reads and writes, by name. Rows
are only ever put in. Digests are `uuid`, 16 bytes as they are: as `bytea` an event took 129 bytes instead of 117, and
2 M of them 15 % longer to put in and 25 % longer to find. The key alone is the index: with the target in it, it would
be a fifth larger.

A partition has no parts of its own, by hash of the key: 2 M events took 13 % longer to put into 16 of them, and those
known were found at 310,000/s instead of 520,000/s. At 20 M both went at 40,000 to 150,000/s by turns, as the disk had
time, and what was asked for was found at 250,000/s instead of 180,000/s: too little to have 16 tables a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from backfill.errors import SettingsError, StorageError
from backfill.ledger.entries import Target
from backfill.ledger.trouble import newer

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["LOCKS", "enter", "is_ready", "upgrade"]

# The class of all our advisory locks; the second number is the target's, or 0 for changes to the schema.
LOCKS: Final = int.from_bytes(b"bkfl")

_OLDEST_SERVER: Final = 130_000

# Rows that change with each commit: room beside them, so that no index is touched, and soon cleared.
_BUSY: Final = "WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)"
# Frozen at the first visit, and visited each two million rows: no page is ever written for it again.
_GROWING: Final = """WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 2000000, autovacuum_analyze_scale_factor = 0.1)"""
_OF_TARGET: Final = "target integer NOT NULL REFERENCES backfill.targets ON DELETE CASCADE"

# As in `file`: the version is the number of the steps, and a step that was released is never edited.
_SCHEMA: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE backfill.meta (key text PRIMARY KEY, value text NOT NULL)",
        """CREATE TABLE backfill.targets (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, base_url text COLLATE "C" NOT NULL,
            store text COLLATE "C" NOT NULL, UNIQUE (base_url, store))""",
        """CREATE TABLE backfill.names (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE)""",
        f"""CREATE TABLE backfill.runs (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {_OF_TARGET},
            mapping text NOT NULL, folder text NOT NULL, release text NOT NULL,
            host text NOT NULL, pid integer NOT NULL,
            started bigint NOT NULL, finished bigint, exit_status integer, summary text,
            accepted bigint NOT NULL DEFAULT 0, refused bigint NOT NULL DEFAULT 0,
            first_accepted bigint, last_accepted bigint) {_BUSY}""",
        "CREATE INDEX ON backfill.runs (target, id)",
        # Who has, or last had, the lock on a target: see `session`.
        f"""CREATE TABLE backfill.holders (
            {_OF_TARGET} PRIMARY KEY, token text NOT NULL, backend integer NOT NULL, host text NOT NULL,
            pid integer NOT NULL, since text NOT NULL, command text NOT NULL, commits bigint NOT NULL, run integer)
            {_BUSY}""",
        """CREATE TABLE backfill.events (
            target integer NOT NULL, name integer NOT NULL, run integer NOT NULL,
            key uuid NOT NULL, content uuid NOT NULL) PARTITION BY LIST (target)""",
        # What `events` holds: to count a billion takes minutes.
        f"""CREATE TABLE backfill.counts (
            {_OF_TARGET}, name integer NOT NULL, accepted bigint NOT NULL, PRIMARY KEY (target, name)) {_BUSY}""",
        f"""CREATE TABLE backfill.refusals (
            {_OF_TARGET}, key uuid NOT NULL, status integer NOT NULL, title text NOT NULL, detail text NOT NULL,
            content uuid NOT NULL, PRIMARY KEY (target, key))""",
        f"""CREATE TABLE backfill.identities (
            {_OF_TARGET}, mapping text COLLATE "C" NOT NULL, fingerprint text NOT NULL,
            PRIMARY KEY (target, mapping))""",
        f"CREATE TABLE backfill.files ({_OF_TARGET}, mapping text NOT NULL, file text NOT NULL, record text NOT NULL)",
        "CREATE INDEX ON backfill.files (target)",
        f"""CREATE TABLE backfill.marks (
            {_OF_TARGET}, mapping text COLLATE "C" NOT NULL, mark text NOT NULL, PRIMARY KEY (target, mapping))""",
        # The first release that can use a ledger of this version.
        "INSERT INTO backfill.meta VALUES ('application', 'backfill'), ('release', '0.2.0'), ('version', '1')",
    ),
)


def is_ready(connection: Connection[Any], where: str) -> bool:
    """Whether there is a ledger that can be used as it is.

    Raises SettingsError for one of a newer release, StorageError
    for what is no ledger.
    """
    return _version(connection, where) == len(_SCHEMA)


def upgrade(connection: Connection[Any], where: str) -> None:
    """Makes the tables, or brings them up to date; two who do so at once take turns."""
    if connection.info.server_version < _OLDEST_SERVER:
        raise SettingsError(
            f"opening the ledger {where}: the server is PostgreSQL {connection.info.server_version // 10_000}",
            hint="Name a server of PostgreSQL 13 or later.",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise SettingsError(
            f"opening the ledger {where}: the database holds texts as {encoding}",
            hint="Make one that holds all letters: createdb --encoding=UTF8 --template=template0 NAME.",
        )
    if is_ready(connection, where):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCKS,))
        version = _version(connection, where)
        # Not IF NOT EXISTS alone, which asks for the right to make schemas also where it is there already.
        there = connection.execute("SELECT to_regnamespace('backfill') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            connection.execute("CREATE SCHEMA backfill")
        for number, step in enumerate(_SCHEMA[version:], version + 1):
            for statement in step:
                connection.execute(statement)
            connection.execute("UPDATE backfill.meta SET value = %s WHERE key = 'version'", (str(number),))


def enter(connection: Connection[Any], target: Target) -> int:
    """The number of a target, new or not, whose partition is there."""
    ask = """SELECT id FROM backfill.targets WHERE base_url = %s AND store = %s
        AND to_regclass('backfill.events_' || id) IS NOT NULL"""
    place = (target.base_url, target.store)
    if known := connection.execute(ask, place).fetchone():
        return int(known[0])
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCKS,))
        if known := connection.execute(ask, place).fetchone():
            return int(known[0])
        connection.execute(
            "INSERT INTO backfill.targets (base_url, store) VALUES (%s, %s) ON CONFLICT (base_url, store) DO NOTHING",
            place,
        )
        found = connection.execute("SELECT id FROM backfill.targets WHERE base_url = %s AND store = %s", place)
        ((number,),) = found.fetchall()
        _add_partition(connection, int(number))
    return int(number)


def _add_partition(connection: Connection[Any], target: int) -> None:
    # Made apart and put in its place, which stops nobody who is reading or writing another store's.
    name = f"backfill.events_{target}"
    connection.execute(
        f"CREATE TABLE {name} (LIKE backfill.events, PRIMARY KEY (key), CHECK (target = {target})) {_GROWING}".encode()
    )
    connection.execute(f"ALTER TABLE backfill.events ATTACH PARTITION {name} FOR VALUES IN ({target})".encode())


def _version(connection: Connection[Any], where: str) -> int:
    row = connection.execute(
        """SELECT to_regclass('backfill.meta') IS NOT NULL,
        EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('backfill'))"""
    ).fetchone()
    assert row is not None
    there, foreign = row
    known: dict[str, str] = {}
    if there:
        known = dict(connection.execute("SELECT key, value FROM backfill.meta").fetchall())
    if not known.get("version", "").isdigit() or known.get("application") != "backfill":
        if foreign:
            raise StorageError(
                f"opening the ledger {where}: its schema `backfill` is another program's",
                hint="Name another database of that server in the URL: createdb NAME makes one.",
            )
        return 0
    version = int(known["version"])
    if version > len(_SCHEMA):
        raise newer(where, version, len(_SCHEMA), known.get("release"))
    return version
