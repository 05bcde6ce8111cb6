"""Countries by name, and what a country or a currency makes likely: zone, currency, phone region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from backfill import api

__all__ = ["CURRENCY", "ZONE", "code_of", "region_of", "without_plus"]

BY_NAME = {
    "united states": "US", "united states of america": "US", "usa": "US", "canada": "CA", "united kingdom": "GB",
    "great britain": "GB", "uk": "GB", "england": "GB", "scotland": "GB", "ireland": "IE", "germany": "DE",
    "deutschland": "DE", "austria": "AT", "österreich": "AT", "switzerland": "CH", "schweiz": "CH", "france": "FR",
    "italy": "IT", "italia": "IT", "spain": "ES", "españa": "ES", "portugal": "PT", "netherlands": "NL",
    "the netherlands": "NL", "nederland": "NL", "belgium": "BE", "denmark": "DK", "sweden": "SE", "norway": "NO",
    "finland": "FI", "poland": "PL", "czech republic": "CZ", "czechia": "CZ", "hungary": "HU", "greece": "GR",
    "australia": "AU", "new zealand": "NZ", "japan": "JP", "china": "CN", "india": "IN", "brazil": "BR", "brasil": "BR",
    "mexico": "MX", "méxico": "MX", "argentina": "AR", "chile": "CL", "colombia": "CO", "south africa": "ZA",
    "singapore": "SG", "hong kong": "HK", "taiwan": "TW", "south korea": "KR", "israel": "IL", "turkey": "TR",
    "d": "DE", "a": "AT",  # as cars have it
    "united arab emirates": "AE", "saudi arabia": "SA", "luxembourg": "LU", "romania": "RO", "ukraine": "UA",
}  # fmt: skip
# Countries with one zone, or one where nearly all live.
ZONE = {
    "GB": "Europe/London", "IE": "Europe/Dublin", "DE": "Europe/Berlin", "AT": "Europe/Vienna", "CH": "Europe/Zurich",
    "FR": "Europe/Paris", "IT": "Europe/Rome", "ES": "Europe/Madrid", "NL": "Europe/Amsterdam", "BE": "Europe/Brussels",
    "DK": "Europe/Copenhagen", "SE": "Europe/Stockholm", "NO": "Europe/Oslo", "FI": "Europe/Helsinki",
    "PL": "Europe/Warsaw", "CZ": "Europe/Prague", "HU": "Europe/Budapest", "PT": "Europe/Lisbon", "GR": "Europe/Athens",
    "JP": "Asia/Tokyo", "IN": "Asia/Kolkata", "SG": "Asia/Singapore", "KR": "Asia/Seoul", "NZ": "Pacific/Auckland",
    "ZA": "Africa/Johannesburg", "IL": "Asia/Jerusalem", "TR": "Europe/Istanbul",
}  # fmt: skip
CURRENCY = {
    "US": "USD", "CA": "CAD", "GB": "GBP", "AU": "AUD", "NZ": "NZD", "JP": "JPY", "CH": "CHF", "SE": "SEK", "DK": "DKK",
    "NO": "NOK", "PL": "PLN", "CZ": "CZK", "HU": "HUF", "IN": "INR", "BR": "BRL", "MX": "MXN", "ZA": "ZAR", "SG": "SGD",
    **dict.fromkeys(["DE", "AT", "FR", "IT", "ES", "NL", "BE", "IE", "PT", "FI", "GR", "LU"], "EUR"),
}  # fmt: skip
# Tried on numbers without a country code, where nothing else tells.
REGIONS = ("US", "GB", "DE", "FR", "AU", "NL", "IT", "ES", "IN", "BR", "MX", "CH", "AT", "SE")
ENOUGH = 0.6


def code_of(country: str) -> str:
    """The code of a country that is told by its code or its name, in whatever language; "" for what is none."""
    code, name = country.strip().upper(), country.strip().casefold().replace("\u2019", "'")
    return code if code in api.COUNTRIES else BY_NAME.get(name) or _names().get(name, "")


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """The countries by their names in all languages, as the phone library has them; those that mean one country."""
    from phonenumbers.geodata.locale import LOCALE_DATA

    codes: dict[str, set[str]] = {}
    for code, names in LOCALE_DATA.items():
        # A star stands before the language that has the same name.
        for name in {name.casefold() for name in names.values() if not name.startswith("*")}:
            codes.setdefault(name, set()).add(code)
    return {name: code for name, (code, *more) in codes.items() if not more and code in api.COUNTRIES}


def without_plus(numbers: Sequence[str], region: str) -> tuple[str, int] | None:
    """(calling code, how many) of numbers that begin with the region's own calling code, and are valid with a + before
    it; None for regions whose own numbers may begin so, and where there are none.
    """
    from phonenumbers import NumberParseException, country_code_for_region, is_valid_number, parse

    code = str(country_code_for_region(region))
    count = 0
    for text in numbers:
        if text.startswith(code) and code != "1":
            try:
                count += is_valid_number(parse(f"+{text}", None))
            except NumberParseException:
                continue
    return (code, count) if count else None


def region_of(numbers: Sequence[str], likely: Sequence[str]) -> tuple[str, float]:
    """The country of which most numbers that have no country code are valid ones, and their share; `likely` first."""
    from phonenumbers import NumberParseException, is_valid_number, parse

    counts: Counter[str] = Counter()
    regions = list(dict.fromkeys([*likely, *REGIONS]))
    for text in numbers:
        for region in regions:
            try:
                counts[region] += is_valid_number(parse(text, region))
            except NumberParseException:
                continue
    best = max(regions, key=lambda region: (counts[region], -regions.index(region)))
    share = counts[best] / len(numbers) if numbers else 0.0
    return (best, share) if share >= ENOUGH else (regions[0], share)
