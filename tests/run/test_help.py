"""What `--help` says is true, and fits a terminal; what is mistyped is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from backfill.cli import backfill
from backfill.cli.completion import EXPORTS
from backfill.read.files import COMPRESSED, SUFFIXES

COMMANDS = ["", *backfill.commands]
WIDTH = 80


def said(*words: str, width: int = WIDTH) -> Result:
    return CliRunner().invoke(backfill, words, prog_name="backfill", terminal_width=width)


def help_of(command: str, width: int = WIDTH) -> str:
    result = said(*filter(None, (command, "--help")), width=width)
    assert result.exit_code == 0
    return result.output


def examples(text: str) -> Iterator[list[str]]:
    """The words of each example, up to what is said about it or to what the shell does with its output."""
    for line in text.splitlines():
        # An example that is given to a shell's own command stands in it.
        if found := re.match(r" +(?:source <\()?(backfill [^)]+)", line):
            yield shlex.split(re.split(r" {2,}| [>|] ", found[1])[0])[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command):
    for line in help_of(command).splitlines():
        assert len(line) <= WIDTH, line


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_commands_that_there_are(command):
    """Parsed as they would be when they are called, so that every word and flag of them is one."""
    found = list(examples(help_of(command)))
    assert found, f"{command} --help has no example"
    parent = click.Context(backfill, info_name="backfill", **backfill.context_settings)
    for words in found:
        assert not command or words[0] == command, words
        parsed = backfill.commands[words[0]]
        with parsed.make_context(words[0], words[1:], parent=parent):
            pass


def test_options_stand_in_groups():
    text = help_of("run")
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert headings[:4] == ["Where", "What", "How fast", "What is told"]
    assert headings[-1] == "Options"
    for option in backfill.commands["run"].params:
        if isinstance(option, click.Option):
            assert len(re.findall(rf"^  .*{option.opts[0]}\b", text, re.MULTILINE)) >= 1


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["chekc", "orders.yaml"], "No such command 'chekc'. Did you mean 'check'?"),
        (["run", "orders.yaml", "--sandbx"], "No such option '--sandbx'. Did you mean '--sandbox'?"),
        (["run", "orders.yaml", "--endpoint", "blk"], "'blk' is not one of 'single', 'bulk'."),
        (["orders.yaml"], "Did you mean: backfill check orders.yaml"),
        (["Orders.YML", "--sandbox"], "Did you mean: backfill check Orders.YML --sandbox"),
        (["my orders.yaml"], "Did you mean: backfill check 'my orders.yaml'"),
    ],
)
def test_what_is_mistyped_is_understood(words, suggestion):
    result = said(*words)
    assert result.exit_code == 2
    assert suggestion in result.output


def test_alone_it_shows_its_help():
    result = said()
    assert result.exit_code == 2
    assert result.output == help_of("")


def test_completion_knows_the_exports_that_can_be_read():
    assert {*EXPORTS} == {*SUFFIXES, *COMPRESSED}
