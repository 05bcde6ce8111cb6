"""Words arrive as they are, through every scheduler's own rules."""

from __future__ import annotations

import ast
import shlex
import subprocess

import yaml
from hypothesis import given
from hypothesis import strategies as st

from backfill.schedule.forms import _block
from backfill.schedule.quoting import (
    cron_words,
    kubernetes_list,
    shell_words,
    systemd_command,
    systemd_words,
    yaml_text,
)
from tests.schedule.support import (
    AWKWARD,
    cron_command,
    systemd_split,
)

WORDS = st.lists(
    st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=12).filter(lambda t: t[0] != "-"),
    min_size=1,
    max_size=4,
) | st.lists(st.text("\\%\"'$`{}() #=;*é", min_size=1, max_size=9), min_size=1, max_size=4)


@given(words=WORDS)
def test_words_arrive_as_they_are(words: list[str]) -> None:
    line = f"0 2 * * * {cron_words(words)}"
    for double in (False, True):
        assert shlex.split(cron_command(line, double=double)) == words
    assert shlex.split(shell_words(words)) == words
    assert systemd_split(systemd_words(words)) == words
    assert systemd_split(systemd_command(words))[-len(words) :] == words
    assert [word.replace("$$(", "$(") for word in yaml.safe_load(f"[{', '.join(kubernetes_list(words))}]")] == words
    assert [ast.literal_eval(yaml_text(word)) for word in words] == words


def test_words_arrive_through_a_shell() -> None:
    words = [AWKWARD, *AWKWARD.split(" "), "'", '"', "\\", "%", "\\%", "\\\\", "a'b\\c"]
    for double in (False, True):
        command = "printf '[%s]' " + cron_command(f"0 2 * * * {cron_words(words)}", double=double)
        shown = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
        assert shown == "".join(f"[{word}]" for word in words)


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.text("a: '\"|\n\t #-\r", max_size=30))
def test_a_mapping_in_a_config_map_is_the_mapping(text: str) -> None:
    assert yaml.safe_load(f"data:\n  text: {_block(text, '    ')}\n") == {"data": {"text": text}}
