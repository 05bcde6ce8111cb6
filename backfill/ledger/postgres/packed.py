"""Digests by the thousand, to the server as one array and back as one value.

Each as a value of its own takes Python 1 µs, under the GIL; so it is 0.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import numpy as np
from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["Packed", "pairs_in", "register"]

_UUID: Final = 2950
_UUIDS: Final = 2951


class Packed:
    """Digests of 16 bytes, as a `uuid[]`."""

    __slots__ = ("data", "size")

    def __init__(self, digests: Collection[bytes]) -> None:
        self.data = b"".join(digests)
        self.size = len(digests)


class _PackedDumper(Dumper):
    """An array as the wire has it: its dimensions, and each element after its length."""

    format = Format.BINARY
    oid = _UUIDS

    def dump(self, obj: Packed) -> bytes:
        elements = np.empty(obj.size, dtype=[("length", ">i4"), ("digest", "V16")])
        elements["length"] = 16
        elements["digest"] = np.frombuffer(obj.data, "V16")
        dimensions = [1, 0, _UUID, obj.size, 1] if obj.size else [0, 0, _UUID]
        return np.array(dimensions, ">i4").tobytes() + elements.tobytes()


def register(connection: Connection[Any]) -> None:
    """Lets a connection take Packed."""
    connection.adapters.register_dumper(Packed, _PackedDumper)


def pairs_in(rows: Iterable[tuple[bytes | None]]) -> dict[bytes, bytes]:
    """Key and content of each, from one value in which they stand side by side."""
    ((both,),) = rows
    return {both[at : at + 16]: both[at + 16 : at + 32] for at in range(0, len(both), 32)} if both else {}
