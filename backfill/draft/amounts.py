"""Numbers in texts: how they are written over a whole export, and the signs that stand around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from backfill.shape.convert import Numerals, parse_number

__all__ = ["PLAIN", "NumberText", "common_style", "currency_of", "find_numbers"]

PLAIN = Numerals()
# In the order in which they are taken where several fit: the simplest first.
STYLES = (
    PLAIN, Numerals(".", ","), Numerals(",", None), Numerals(",", "."), Numerals(",", " "), Numerals(",", "\u00a0"),
    Numerals(",", "\u202f"), Numerals(".", "'"), Numerals(".", "\u2019"), Numerals(".", " "),
)  # fmt: skip
SIGNS = {
    "$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "A$": "AUD", "C$": "CAD", "₹": "INR", "zł": "PLN",
    "kr": "SEK", "Fr.": "CHF", "R$": "BRL", "₺": "TRY", "₽": "RUB", "₩": "KRW", "₪": "ILS",
}  # fmt: skip
# A sign or the letters of a currency may stand before or behind.
NUMBER_LIKE = (
    r"^[+-]?[^\s\d\w]{0,3}[A-Za-zł]{0,3}\.?\$?[ \x{a0}]?[+-]?"
    r"[\d.,'\x{2019} \x{a0}\x{202f}]*\d[\d.,]*(?:[eE][+-]?\d+)?"
    r"[ \x{a0}]?(?:[^\s\d\w]|[A-Za-zł]{1,3})?\.?$"
)
SIGN = r"^[+-]?([^\d\s.,+'\x{2019}-]{1,3})|([^\d\s.,+'\x{2019}-]{1,3})$"
MOST = 0.9


@dataclass(frozen=True, slots=True)
class NumberText:
    """Which styles read how many of a column's `given` texts, once `sign` (as $ or EUR) is taken off them."""

    fits: tuple[int, ...]
    given: int
    sign: str = ""
    whole: bool = False
    digits: int = 0
    zeros: bool = False

    def fit(self, style: Numerals) -> int:
        return self.fits[STYLES.index(style)]

    @property
    def best(self) -> int:
        return max(self.fits)


def find_numbers(texts: pl.Series) -> NumberText | None:
    """How texts (none null, without blanks around them) are numbers; None when most are not."""
    given = len(texts)
    like = texts.str.contains(NUMBER_LIKE)
    if not given or int(like.sum()) < MOST / 2 * given:
        return None
    sign = _sign(texts.filter(like).head(2000))
    bare = texts.str.replace_all(sign, "", literal=True).str.strip_chars() if sign else texts
    # Digits alone are a number in every style.
    fits = (given,) * len(STYLES) if bare.str.contains(r"^[+-]?\d+$").all() else _fits(bare)
    if not max(fits):
        return None
    whole = bool(bare.str.contains(r"^[+-]?\d+$").sum() >= MOST * given)
    digits = int(bare.str.count_matches(r"\d").max() or 0)  # type: ignore[arg-type]
    zeros = bool(bare.str.contains(r"^0\d").any())
    return NumberText(fits, given, sign, whole, digits, zeros)


def _fits(texts: pl.Series) -> tuple[int, ...]:
    """How many texts are numbers in each style."""
    counts = [parse_number(pl.col("x"), style).is_not_null().sum().alias(str(i)) for i, style in enumerate(STYLES)]
    return texts.to_frame("x").select(counts).row(0)


def _sign(texts: pl.Series) -> str:
    """The sign that most of the texts carry and that stands for a currency or a percentage."""
    found = texts.str.extract_groups(SIGN)
    signs = pl.select(pl.coalesce(found.struct.field("1"), found.struct.field("2"))).to_series().drop_nulls()
    if len(signs) < len(texts) / 2:
        return ""
    sign = str(Counter(signs.to_list()).most_common(1)[0][0])
    from backfill import api

    return sign if sign in SIGNS or sign == "%" or sign in api.CURRENCIES else ""


def currency_of(sign: str) -> str:
    """The currency that a sign most likely stands for; "" for one that is no currency's."""
    return SIGNS.get(sign, "" if sign == "%" else sign)


def common_style(columns: Sequence[NumberText]) -> Numerals:
    """The one style in which most of these columns' numbers can be read."""
    best = PLAIN
    most = -1
    for style in STYLES:
        fits = sum(column.fit(style) for column in columns)
        # A style with marks has to earn its place: by what the plain one can't read.
        if fits > most:
            best, most = style, fits
    return best
