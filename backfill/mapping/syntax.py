"""PyYAML's errors in words for users, at their lines."""

from __future__ import annotations

import yaml

from backfill.errors import MappingProblem

__all__ = ["bad_escape_problem", "syntax_problem", "unreadable_problem"]


def unreadable_problem(text: str, error: yaml.reader.ReaderError) -> MappingProblem:
    """A control character. The reader's own position counts from its buffer, so look for the character."""
    at = max(text.find(chr(error.character)) if isinstance(error.character, int) else -1, 0)
    line = text.count("\n", 0, at) + 1
    code = f"U+{error.character:04X}" if isinstance(error.character, int) else "a character"
    return MappingProblem(line, at - text.rfind("\n", 0, at), f"{code} can't stand in YAML", "is this a text file?")


_QUOTE = 'a text with ": ", " #", or with { [ * & ! | > % @ at its beginning, goes in quotes'
_WORDING = (
    ("'\\t' that cannot start any token", "YAML is not indented with tabs", "use spaces"),
    ("cannot start any token", "this character can't begin a text", _QUOTE),
    ("mapping values are not allowed here", 'a second ":" where none can be', _QUOTE),
    ("could not find expected ':'", 'this line has no ":", or is indented wrongly', ""),
    (
        "while scanning a quoted scalar",
        "the quotes are never closed",
        "close them, or double the quote inside",
    ),
    (
        "while parsing a block mapping",
        "this line does not fit the ones above",
        "mind the indentation; " + _QUOTE,
    ),
    ("while parsing a block collection", "this list does not fit the lines above", "mind the indentation"),
    ("while parsing a flow mapping", 'a "," or "}" is missing', _QUOTE),
    ("while parsing a flow sequence", 'a "," or "]" is missing', _QUOTE),
    ("escape", "this is no escape in double quotes", "double the backslash, or use single quotes"),
)


def bad_escape_problem(text: str) -> MappingProblem:
    at = max(text.find("\\U"), 0)
    line = text.count("\n", 0, at) + 1
    return MappingProblem(line, at - text.rfind("\n", 0, at), "this escape is no character", "use single quotes")


def syntax_problem(text: str, error: yaml.MarkedYAMLError) -> MappingProblem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    said = f"{error.context or ''}: {error.problem or ''}"
    lines = text.splitlines()
    if line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]:
        return MappingProblem(line, lines[line - 1].index("\t") + 1, "YAML is not indented with tabs", "use spaces")
    row = lines[line - 1] if line <= len(lines) else ""
    if row[column - 1 : column] == ":" and (row[: column - 1].strip() or "{")[-1] in "{,-":
        return MappingProblem(line, column, 'a name is missing before ":"')
    for needle, message, hint in _WORDING:
        if needle in said:
            return MappingProblem(line, column, message, hint)
    return MappingProblem(line, column, "this is not YAML", "mind the indentation; " + _QUOTE)
