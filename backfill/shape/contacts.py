"""Emails and phone numbers as the API takes them."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from backfill.shape.layers import Layers

__all__ = ["valid_email", "valid_phone"]

# RFC 5321 without quoted local parts and address literals, which no shop's customer has: at most 64
# characters before the @, labels of up to 63, a name of at least two labels, 254 in all.
EMAIL = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$"
)
EMAIL_LENGTH = 254
LOCAL_PART = 64

# The North American plan: area and exchange codes begin with 2 to 9, area codes have no 9 in the middle.
NANP = (
    r"^\s*(?:(?<plus>\+)?1)?[\s().-]*(?<area>[2-9][0-8][0-9])[\s().-]*"
    r"(?<exchange>[2-9][0-9]{2})[\s().-]*(?<line>[0-9]{4})\s*$"
)
NANP_REGIONS = frozenset({"US", "CA", "PR"})

E164_DIGITS = 15


def valid_email(text: pl.Expr, layers: Layers) -> pl.Expr:
    """The email without the spaces around it; null where it is none."""
    fits = (text.str.contains(EMAIL) & (text.str.len_bytes() <= LOCAL_PART)).all()
    return layers.either(fits, text, _stripped_email(layers.let(text.str.strip_chars())))


def _stripped_email(text: pl.Expr) -> pl.Expr:
    # The local part is measured apart: a counted repetition in EMAIL would make it ten times slower.
    fine = text.str.contains(EMAIL) & (text.str.find("@", literal=True) <= LOCAL_PART)
    fine &= text.str.len_bytes() <= EMAIL_LENGTH
    return pl.when(fine).then(text)


def valid_phone(text: pl.Expr, region: str | None, layers: Layers) -> pl.Expr:
    """The number in E.164; null where it is none. `region` (ISO 3166-1) is that of numbers without a country
    code.

    North American numbers, most of what is read, go by their structure in Polars (100 ns); all others through
    libphonenumber (40 µs), each distinct one once.
    """
    parts = layers.let(text.str.extract_groups(NANP))
    fast = layers.let(
        pl.concat_str([pl.lit("+1"), *(parts.struct.field(part) for part in ("area", "exchange", "line"))])
    )
    if region in NANP_REGIONS:
        # Letters (an extension, a name for digits), a plus inside and prefixes for abroad are libphonenumber's
        # business; what else fails here would fail there.
        rest = pl.when(fast.is_null() & text.str.contains(r"[A-Za-z/;#*+]|^\s*0(?:0|11)")).then(text)
    else:
        abroad = parts.struct.field("plus").fill_null("") != "+"
        rest = pl.when(abroad).then(text)
        fast = layers.let(pl.when(~abroad).then(fast))
    slow = rest.map_batches(lambda series: _parse_all(series, region), return_dtype=pl.String)
    return layers.either(fast.null_count() == text.null_count(), fast, pl.coalesce(fast, slow))


def _parse_all(series: pl.Series, region: str | None) -> pl.Series:
    if series.null_count() == len(series):
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    return pl.Series(series.name, [None if text is None else _parse(text, region) for text in series], dtype=pl.String)


@lru_cache(maxsize=100_000)
def _parse(text: str, region: str | None) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # The library knows longer ones (a German pager's has 16 digits), which E.164 does not.
    return found if len(found) <= 1 + E164_DIGITS else None
