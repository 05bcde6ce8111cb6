"""`backfill completion`: what makes a shell complete commands, options and files; and what it is answered with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete, add_completion_class

__all__ = ["EXPORTS", "MAPPINGS", "completion", "ending_with"]

MAPPINGS = (".yaml", ".yml")
# As `backfill.read` knows them, which takes too long to ask while somebody waits for the Tab key.
EXPORTS = (
    ".csv", ".tsv", ".txt", ".parquet", ".pq", ".ndjson", ".jsonl", ".json", ".arrow", ".arrows", ".feather", ".ipc",
    ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".gz", ".zst", ".zstd",
)  # fmt: skip
# An item of a kind that click's own scripts do not know: a file, or a folder, which ends with a slash.
PATH = "path"

HOW = {
    "bash": (
        "To use it now:  source <(backfill completion bash)",
        "To keep it:     backfill completion bash > ~/.local/share/bash-completion/completions/backfill",
        "(for the latter make the folder first; it needs the package bash-completion and a new shell)",
    ),
    "zsh": (
        "To use it now:  source <(backfill completion zsh)",
        'To keep it:     backfill completion zsh > "${fpath[1]}/_backfill"',
        "(in ~/.zshrc there has to be: autoload -U compinit && compinit)",
    ),
    "fish": (
        "To use it now:  backfill completion fish | source",
        "To keep it:     backfill completion fish > ~/.config/fish/completions/backfill.fish",
    ),
}


@click.command()
@click.argument("shell", type=click.Choice(list(HOW)))
def completion(shell: str) -> int:
    """Print a script that makes the Tab key complete.

    It completes commands, options, and the files that they take.

    \b
    source <(backfill completion bash)    for this shell; it says how to keep it
    backfill completion fish | source     the same for fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root()
    lines = [f"# Completion of backfill's commands, options and files in {shell}."]
    lines += [f"# {line}" for line in HOW[shell]]
    script = found(root.command, {}, "backfill", "_BACKFILL_COMPLETE").source().strip("\n")
    head, _, rest = script.partition("\n")
    if head.startswith("#compdef"):  # has to be the first line
        lines, script = [head, *lines], rest.strip("\n")
    click.echo("\n".join([*lines, "", script]))
    return 0


def ending_with(*endings: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[Any]]]:
    """What completes a path to a file that ends so, in any case of letters; folders lead to it."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[Any]]:
        folder, name = os.path.split(begun)
        try:
            entries = sorted(os.scandir(Path(folder).expanduser() if folder else "."), key=lambda one: one.name)
        except (OSError, RuntimeError):  # no such folder, nobody's home
            return []
        wanted = [one for one in entries if one.name.startswith(name) and (name or not one.name.startswith("."))]
        before = begun[: len(begun) - len(name)]
        return [
            CompletionItem(before + one.name + ("/" if one.is_dir() else ""), type=PATH)
            for one in wanted
            if one.is_dir() or one.name.lower().endswith(endings)
        ]

    return complete


@add_completion_class
class _Bash(BashComplete):
    """click's, which also knows paths: readline puts a slash and no space behind a folder, and quotes."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n'
    local response type value

    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")

    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            path) COMPREPLY+=("${value%%/}"); compopt -o filenames ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done

    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    @staticmethod
    def _check_version() -> None:
        """It may be printed where no bash is, for another machine."""


@add_completion_class
class _Zsh(ZshComplete):
    """click's, which also knows paths: no space goes behind a folder."""

    source_template = ZshComplete.source_template.replace(
        """        elif [[ "$type" == "dir" ]]; then""",
        """        elif [[ "$type" == "path" && "$key" == */ ]]; then
            compadd -U -f -S '' -- "$key"
        elif [[ "$type" == "path" ]]; then
            compadd -U -f -- "$key"
        elif [[ "$type" == "dir" ]]; then""",
    )


@add_completion_class
class _Fish(FishComplete):
    """click's: fish itself puts no space behind a slash."""

    def format_completion(self, item: CompletionItem[Any]) -> str:
        if item.type == PATH:
            item = CompletionItem(item.value, help=item.help)
        return super().format_completion(item)
