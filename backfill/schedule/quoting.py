"""A word of a command, written so that a scheduler and the shell behind it give it back as it was.

Words have no line breaks: `job` refuses them, since neither a crontab nor a unit can hold any.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence

__all__ = [
    "cron_words",
    "kubernetes_list",
    "shell_words",
    "systemd_command",
    "systemd_value",
    "systemd_words",
    "yaml_text",
]

# The last letter that \u reaches.
_PLANE = 0xFFFF


def shell_words(words: Iterable[str]) -> str:
    """Words for sh."""
    return shlex.join(words)


def cron_words(words: Iterable[str]) -> str:
    """Words for sh in a crontab, in which an unescaped % ends the command.

    Some crons take the backslash away before another backslash as well, some don't: so no two of them stand side by
    side. `shlex` puts a word with a backslash into single quotes, and between two of those quotes nothing is.
    """
    return shell_words(words).replace("\\", "\\''").replace("%", "\\%")


def systemd_words(words: Iterable[str]) -> str:
    """Words for a unit's list of words; in ExecStart= under the prefix ":", which leaves every $ alone."""
    return " ".join(systemd_value(word) for word in words)


def systemd_command(words: Sequence[str]) -> str:
    """The same for all of a command. systemd starts no program with a quote or a backslash in its path: sh does."""
    started = ["/bin/sh", "-c", 'exec "$0" "$@"', *words] if set(words[0]) & set("\"'\\") else words
    return systemd_words(started)


def systemd_value(word: str) -> str:
    """One word of a unit, in quotes where it needs them: % starts a specifier there."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = word and all(letter.isalnum() or letter in "%+,-./:=@_" for letter in word)
    return escaped if plain else f'"{escaped}"'


def kubernetes_list(words: Iterable[str]) -> list[str]:
    """Items of `command` or `args`, as YAML: $(NAME) would be a variable there."""
    return [yaml_text(word.replace("$(", "$$(")) for word in words]


def yaml_text(text: str) -> str:
    """A text in double quotes, as YAML and Python both read it: JSON's, with all that is not seen written out."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escape(ord(letter)) for letter in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= _PLANE else f"\\U{code:08x}"
