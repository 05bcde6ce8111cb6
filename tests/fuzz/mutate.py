"""Inputs from inputs, by seeded chance: what is near to what is right gets furthest into the code."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["mutated"]

MOST = 65_536


def mutated(random: Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the corpus, changed in a few places; at most 64 KiB."""
    data = bytearray(random.choice(corpus))
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        _change(random, data, corpus, words)
    return bytes(data[:MOST])


def _change(random: Random, data: bytearray, corpus: Sequence[bytes], words: Sequence[bytes]) -> None:
    start = random.randint(0, len(data))
    end = min(len(data), start + random.choice((0, 1, 1, 4, 16, 64)))
    match random.randrange(8):
        case 0 if data:
            data[start % len(data)] = random.randrange(256)
        case 1 | 2:
            data[start:end] = random.choice(words)
        case 3:
            data[start:start] = random.choice(words)
        case 4:
            del data[start:end]
        case 5:
            data[start:start] = data[start:end] * random.choice((1, 2, 50))
        case 6:
            other = random.choice(corpus)
            at = random.randint(0, len(other))
            data[start:end] = other[at : at + random.choice((4, 32, 256))]
        case _:
            lines = bytes(data).splitlines(keepends=True)
            random.shuffle(lines)
            data[:] = b"".join(lines)
