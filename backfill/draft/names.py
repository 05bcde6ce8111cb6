"""What a column's name says: its words, the role it hints at, and a name for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backfill.draft import hints

__all__ = [
    "DEEDS",
    "KEYS",
    "THINGS",
    "Name",
    "is_keyed",
    "is_private",
    "is_secret",
    "is_timely",
    "key_rank",
    "read_name",
    "time_rank",
    "title",
    "value_rank",
]

TITLE_LENGTH = 80
# A longer word in capitals is no abbreviation.
CAPITALS = 4
# Before a name these count something, behind it they number it.
COUNTS = frozenset(("number", "num", "no"))
ROLES = {
    name: role
    for role, names in (line.split(": ") for line in hints.ROLES.strip().replace("\n    ", " ").splitlines())
    for name in names.split()
}
OWNERS = {word: rank for rank, line in enumerate(hints.OWNERS.strip().splitlines(), 1) for word in line.split()}
PLACES, AROUND, LATER, TIMELY = (
    frozenset(text.split()) for text in (hints.PLACES, hints.AROUND, hints.LATER, hints.TIMELY)
)
DEEDS, KEYS, THINGS = (frozenset(text.split()) for text in (hints.DEEDS, hints.KEYS, hints.THINGS))
SECRETS, PRIVATE, ACRONYMS = (frozenset(text.split()) for text in (hints.SECRETS, hints.PRIVATE, hints.ACRONYMS))
VALUES, TIMES, GUARDED = hints.VALUES.split(), hints.TIMES.split(), hints.GUARDED.split()


@dataclass(frozen=True, slots=True)
class Name:
    """`words` are the name's, in lower case; `role` what it hints at; `rank` how near to the customer that is."""

    words: tuple[str, ...]
    role: str = ""
    rank: int = 0

    @property
    def slug(self) -> str:
        return "_".join(self.words)


def read_name(column: str) -> Name:
    """The name of a column; of a nested one all its parts count."""
    words = tuple(_words(column))
    rank, start = 0, 0
    role = ROLES.get("_".join(words), "")
    while not role and start < len(words) - 1 and (words[start] in OWNERS or (start and words[start] in PLACES)):
        rank = max(rank, OWNERS.get(words[start], 0))
        start += 1
        role = ROLES.get("_".join(words[start:]), "")
    if not role and words and words[0] in OWNERS and len(words) == 1:
        role = "full_name"
    return Name(words, role, rank)


def _words(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])", " ", text)
    return [word.casefold() for word in re.split(r"[\W_]+", spaced) if word]


def title(column: str) -> str:
    """`order_id` → `Order ID`; of a nested column the last part counts."""
    spaced = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Þ])", " ", column)
    words = [word for word in re.split(r"[\s_.\-/:$]+", spaced) if word]
    whole = " ".join(_capital(word) for word in words)
    whole = "".join(letter if letter.isprintable() else " " for letter in whole).strip()
    return whole[:TITLE_LENGTH].strip() or "Column"


def _capital(word: str) -> str:
    if word.casefold() in ACRONYMS:
        return word.upper()
    if word.isupper() and len(word) > CAPITALS:
        return word.capitalize()
    return word[:1].upper() + word[1:]


def value_rank(name: Name) -> int | None:
    """How much the name sounds like what the event is worth; 0 is best, None not at all."""
    slug = name.slug
    if slug in VALUES:
        return 2 * VALUES.index(slug)
    core = [word for word in name.words if word not in AROUND]
    while core and (core[0] in OWNERS or core[0] in PLACES or core[0] == "event"):
        core = core[1:]
    slug = "_".join(core)
    return 2 * VALUES.index(slug) + 1 if slug in VALUES else None


def time_rank(name: Name) -> int | None:
    """How much the name sounds like when the event happened; None where it is a time of another kind."""
    if {"birth", "birthday", "birthdate", "born", "dob", "geburtsdatum"} & set(name.words):
        return None
    if LATER & set(name.words):
        return 300
    if name.slug in TIMES:
        return TIMES.index(name.slug)
    return 100 if TIMELY & set(name.words) else 200


def is_timely(name: Name) -> bool:
    """Whether a number of this name may be a time."""
    return bool(TIMELY & set(name.words)) and not {"id"} & set(name.words)


def is_keyed(name: Name) -> bool:
    """Whether the name is one of an id: "Order Number", and not "Number of Orders"."""
    return bool(KEYS & set(name.words[1:])) or bool((KEYS - COUNTS) & set(name.words)) or name.slug in COUNTS


def key_rank(name: Name) -> int | None:
    """How much the name sounds like the id of what happened; 0 is best, None not at all."""
    words = set(name.words)
    if name.slug in ("id", "uuid", "guid"):
        return 1
    keyed, deed = is_keyed(name), bool(DEEDS & words)
    if THINGS & words:
        return None
    if deed and keyed:
        return 0 if {"id", "uuid", "guid", "nr", "no", "number", "nummer"} & words else 2
    if any(len(name.words) == 1 and name.slug.startswith(deed) and name.slug.endswith(key)
           for deed in DEEDS for key in ("id", "no", "nr", "nummer", "number")):  # fmt: skip
        return 0
    if deed and len(words) == 1:
        return 4
    return 3 if keyed else None


def is_secret(name: Name) -> bool:
    """Whether such a column has no business in an event."""
    return bool(SECRETS & set(name.words)) or any(pair in name.slug for pair in GUARDED)


def is_private(name: Name) -> bool:
    """Whether its values may tell of a person: none is shown."""
    return bool(PRIVATE & set(name.words)) or bool(name.role and name.role not in ("country", "currency", "time_zone"))
