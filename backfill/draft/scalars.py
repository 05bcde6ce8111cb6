"""Texts as YAML that means exactly them, whatever an export's header holds; and as parts of comments."""

from __future__ import annotations

import re
from functools import lru_cache

from backfill.mapping import TemplateError, parse_template

__all__ = ["comment", "flow", "identifier", "path", "quoted", "reference", "scalar", "sql_text", "value_of"]

SHOWN = 60
# Plain texts that mean themselves in YAML 1.1 and 1.2, in block and in flow style.
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[ ./%()-]+[A-Za-z0-9_()]+)*")
# YAML 1.1's words for booleans and null: other readers take them so.
SIMPLE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
# Names that mean something to Polars' SQL without being words of sqlglot's.
FUNCTIONS_TOO = frozenset(
    ("value", "values", "key", "user", "name", "type", "year", "month", "day", "hour", "minute", "second", "date")
)
PATH = re.compile(r"(?:/|(?:\.\./)+|\./)?[A-Za-z0-9_][A-Za-z0-9_./*=-]*\.[A-Za-z][A-Za-z0-9]*|/[A-Za-z0-9_./*=-]+")
WORDS = frozenset(("true", "false", "yes", "no", "on", "off", "y", "n", "null"))


def scalar(text: str) -> str:
    """The text as YAML, without quotes where it needs none."""
    return text if PLAIN.fullmatch(text) and text.casefold() not in WORDS else quoted(text)


def path(text: str) -> str:
    """The path of a file as YAML."""
    return text if PATH.fullmatch(text) else scalar(text)


def sql_text(sql: str) -> str:
    """SQL as YAML, in the quotes that it has none of."""
    if '"' in sql and "'" not in sql and sql.isprintable():
        return f"'{sql}'"
    return quoted(sql)


def quoted(text: str) -> str:
    """The text between double quotes, with YAML's escapes for all that is not plainly seen."""
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter.isprintable():
        return letter
    code = ord(letter)
    return {"\n": "\\n", "\t": "\\t"}.get(letter) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def flow(**parts: str) -> str:
    """`{column: phone, region: US}`; the values are YAML already."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in parts.items()) + "}"


def reference(column: str) -> str | None:
    """`{order_id}` for a template, None where the name can't stand in one."""
    text = "{" + column + "}"
    try:
        found = parse_template(text)
    except TemplateError:
        return None
    return text if found.only == column else None


def value_of(column: str, **options: str) -> str:
    """A value that is this column, in the short form where that is possible. Options are YAML already."""
    short = reference(column)
    if short is None or options:
        return flow(column=scalar(column), **options)
    return quoted(short)


def identifier(column: str) -> str:
    """The column, or a part of a nested one, in SQL."""
    if SIMPLE.fullmatch(column) and column not in _keywords():
        return column
    return '"' + column.replace('"', '""') + '"'


@lru_cache(maxsize=1)
def _keywords() -> frozenset[str]:
    from sqlglot import tokens

    known = (word.casefold() for word in tokens.Tokenizer.KEYWORDS)
    return frozenset(word for words in known for word in words.split()) | FUNCTIONS_TOO


def comment(text: str, length: int = SHOWN) -> str:
    """The text on one line of a comment, cut where it is long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= length else line[: length - 1] + "…"
