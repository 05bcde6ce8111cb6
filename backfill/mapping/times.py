"""Whether a time zone and a time's format exist, before they are tried on a million rows."""

from __future__ import annotations

import re

from backfill.mapping.words import suggest

__all__ = ["EPOCHS", "bad_format", "bad_zone"]

EPOCHS = ("epoch_s", "epoch_ms")

# chrono's directives (docs.rs/chrono, format::strftime), which Polars parses by, without those it can only
# write.
_DIRECTIVE = re.compile(r"%([-_0]?[YCymbBhdeaAwuUWGgVjDxFvHkIlPpMSfRTXrZzcstn%]|\.[369]?f|[369]f|:?z|#z|\+)")
_YEARS = frozenset("YyGgCDxFvcs+")
_NO_TIME = ("%%", "%t", "%n")
# What chrono takes, and reads as something else than who writes it means: "%S.%f" takes 5.25 for 5 s and 25 ns.
_MISREAD = {
    "%f": ("%f reads nanoseconds, not the digits after a point", 'write "%S%.f", or "%3f", "%6f" without a point'),
    "%Z": ("%Z passes over a zone's name", "for one zone write its name here and give timezone:; %z reads offsets"),
}

# Names that a system may have, and that Polars does not know.
_NO_ZONES = ("localtime", "posixrules", "Factory")

# How other tools write formats.
_FOREIGN = {
    "YYYY": "%Y", "yyyy": "%Y", "YY": "%y", "yy": "%y", "MMM": "%b", "MM": "%m", "DD": "%d", "dd": "%d",
    "HH": "%H",
    "hh": "%I", "mm": "%M", "ss": "%S", "SSS": "%3f",
}  # fmt: skip

_ABBREVIATIONS = {
    "EDT": "America/New_York", "ET": "America/New_York", "CST": "America/Chicago", "CDT": "America/Chicago",
    "CT": "America/Chicago", "MDT": "America/Denver", "MT": "America/Denver", "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles", "PT": "America/Los_Angeles", "BST": "Europe/London",
    "CEST": "Europe/Berlin",
    "AEST": "Australia/Sydney", "JST": "Asia/Tokyo", "Z": "UTC",
}  # fmt: skip


def bad_format(text: str) -> tuple[str, str, int] | None:
    """Why this is no format: message, hint, offset."""
    if text in EPOCHS:
        return None
    if "%" not in text:
        near = suggest(text, EPOCHS)
        foreign = re.sub("|".join(_FOREIGN), lambda found: _FOREIGN[found.group()], text)
        hint = near or (f'write "{foreign}"' if foreign != text else 'as in "%Y-%m-%d %H:%M:%S", or epoch_s, epoch_ms')
        return "this format has no directive", hint, 0
    found: list[str] = []
    at = text.find("%")
    while at >= 0:
        match = _DIRECTIVE.match(text, at)
        if match is None:
            directive = text[at : at + 2]
            return f'"{directive}" is no directive of a time format', 'as in "%Y-%m-%d %H:%M:%S"', at
        if match.group() in _MISREAD:
            return *_MISREAD[match.group()], at
        if match.group() not in _NO_TIME:
            found.append(match.group())
        at = text.find("%", match.end())
    lacking = _lacking({directive[-1] for directive in found})
    return (*lacking, 0) if lacking is not None else None


def _lacking(letters: set[str]) -> tuple[str, str] | None:
    """What a time can't do without. Polars takes a missing year for 1, a missing month for January."""
    hours, minutes = letters & set("HkIlRTXrcs+"), letters & set("MRTXrcs+")
    if not letters & _YEARS:
        return "this format reads no year", 'as in "%Y-%m-%d %H:%M:%S"'
    if letters & set("de") and not letters & set("mbBhDxFvc+"):
        return "this format reads a day and no month", 'as in "%Y-%m-%d"'
    if bool(hours) != bool(minutes):
        return "this format reads hours without minutes, or minutes without hours", 'as in "%H:%M"'
    if letters & set("pP") and not letters & set("Ilr"):
        return "this format reads AM or PM without 12 hours", 'as in "%I:%M %p"'
    if letters & set("Il") and not letters & set("pPr"):
        return "this format reads 12 hours without AM or PM", 'as in "%I:%M %p", or "%H:%M" for 24 hours'
    return None


def bad_zone(name: str) -> tuple[str, str] | None:
    """Why this is no time zone: message, hint."""
    import zoneinfo

    try:
        if name not in _NO_ZONES and not name.startswith(("posix/", "right/")):
            zoneinfo.ZoneInfo(name)
            return None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    message = f'"{name}" is no time zone'
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])0?(\d{1,2})(?::?00)?", name, re.IGNORECASE)
    if offset is not None:
        # In Etc/ names the sign is the other way round.
        sign = "-" if offset[1] == "+" else "+"
        return message, f'a fixed offset is written "Etc/GMT{sign}{offset[2]}" (the sign is reversed there)'
    if name.upper() in _ABBREVIATIONS:
        return message, f'did you mean "{_ABBREVIATIONS[name.upper()]}"?'
    known = zoneinfo.available_timezones() - {*_NO_ZONES}
    city = name.strip().replace(" ", "_").casefold()
    places = sorted(zone for zone in known if zone.casefold() == city or zone.casefold().endswith("/" + city))
    if places:
        return message, f'did you mean "{places[0]}"?'
    return message, suggest(name, sorted(known)) or 'zones have names such as "America/New_York"'
