"""Words for messages: the nearest right name, and lists of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["listing", "printable", "suggest"]

# Names that people write for the API's, and that look too little like them to be found by likeness.
_SYNONYMS = {
    "phone": "phonenumber",
    "mobile": "phonenumber",
    "mail": "email",
    "zip": "postalcode",
    "zipcode": "postalcode",
    "address": "street1",
    "address1": "street1",
    "address2": "street2",
    "lat": "latitude",
    "lng": "longitude",
    "lon": "longitude",
    "currency": "valuecurrency",
    "amount": "value",
    "total": "value",
    "time": "eventtimestamp",
    "timestamp": "eventtimestamp",
    "date": "eventtimestamp",
    "name": "eventname",
    "event": "eventname",
    "dedupekey": "uniqueid",
    "properties": "data",
    "delimiter": "separator",
    "sep": "separator",
    "delim": "separator",
    "filter": "where",
    "tz": "timezone",
    "path": "files",
    "file": "files",
    "country": "region",
    "value": "const",
    "text": "string",
    "str": "string",
    "int": "integer",
    "float": "number",
    "decimal": "number",
    "bool": "boolean",
    "timestamptz": "datetime",
    "skip": "omit",
    "drop": "omit",
    "error": "reject",
    "jsonl": "ndjson",
    "xlsx": "excel",
    "fallback": "default",
}


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean "email"?`, or nothing when no name is near."""
    from difflib import SequenceMatcher, get_close_matches

    names = {_bare(name): name for name in known}
    bare = _bare(word)
    found = names.get(bare) or names.get(_SYNONYMS.get(bare, ""))
    if found is None and bare:
        near = get_close_matches(bare, names, n=1, cutoff=0.66)
        starts = [
            name
            for name in names
            if min(len(name), len(bare)) >= 3 and (name.startswith(bare) or bare.startswith(name))
        ]
        if near:
            found = names[near[0]]
        elif starts:
            found = names[max(starts, key=lambda name: SequenceMatcher(None, bare, name).ratio())]
    return f'did you mean "{found}"?' if found is not None and found != word else ""


def listing(names: Sequence[str], most: int = 10) -> str:
    """`a, b and c`, or `a, b, c and 7 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def printable(text: str) -> str:
    """On one line, and without what a file could do to a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _bare(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).casefold() or name
