"""Event names that a store was never sent: Redo makes a new type of each that it does not know, for good."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["NewName", "new_names"]

# "Order Palced" is as near to "Order Placed" (0.91); "Order Paid" is further off (0.8), and a name of its own.
NEAR = 0.9
# Beyond these a mapping makes names of something that is no name, and each comparison costs time.
MOST_COMPARED = 100


@dataclass(frozen=True, slots=True)
class NewName:
    """A name that was never sent, and the name sent before that it may be a slip of; "" when there is none."""

    name: str
    like: str = ""


def new_names(names: Iterable[str], sent: Collection[str]) -> list[NewName]:
    """Those of the names that are not among the `sent`, in order."""
    known = set(sent)
    unseen = sorted(set(names) - known)
    return [NewName(name, _like(name, known) if i < MOST_COMPARED else "") for i, name in enumerate(unseen)]


def _like(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    bare = {_bare(one): one for one in sorted(known)[:MOST_COMPARED]}
    near = get_close_matches(_bare(name), bare, n=1, cutoff=NEAR)
    # Tier 10 is no slip of Tier 11.
    return bare[near[0]] if near and _digits(near[0]) == _digits(_bare(name)) else ""


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()) or name


def _digits(text: str) -> list[str]:
    return re.findall(r"\d+", text)
