"""README.md is true: its commands are run, its YAML is loaded, its links, tables and reference are held to the code.

`python tests/test_readme.py` writes the reference and the outputs that README.md shows anew.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backfill import api, errors
from backfill.cli import backfill as command_line
from backfill.mapping import Event, parse, reference_markdown
from backfill.sandbox import Options, SandboxThread

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "README.md"
MAPPING_PAGE = ROOT / "backfill/help/mapping.md"
README = PATH.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"(<!-- reference -->\n)(.*?)(<!-- /reference -->)", re.DOTALL)
FOLDER = "my-import"
SECRET = "readme-secret"
END = "@@ end of command, exit status"
# Run elsewhere (make, this file) or in need of the network: looked at, not run.
NOT_RUN = ("make ", "git clone", ".venv/bin/python ")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the paragraph before it."""

    language: str
    text: str
    before: str

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Each command with the output that is shown under it (none in a block that shows commands only)."""
        if self.language == "sh":
            return [(line, "") for line in self.text.splitlines() if line.strip()]
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:].rstrip("\n"), ""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + line)
        return found


def blocks(*languages: str) -> list[Block]:
    return [
        Block(match[1], match[2], README[: match.start()].rstrip().rpartition("\n\n")[2])
        for match in BLOCK.finditer(README)
        if match[1] in languages
    ]


COMMANDS = [(block, *pair) for block in blocks("sh", "console") for pair in block.commands]
RUN = [entry for entry in COMMANDS if not entry[1].startswith(NOT_RUN)]


# ------------------------------------------------------------------------------------------------------- what is shown


def run_all(root: Path) -> list[tuple[str, int]]:
    """What every command prints, as README.md shows it, and its exit status: one shell runs them all, in order.

    The API is a sandbox. Nobody sits at a terminal to be asked, so `run` is told --yes.
    """
    (root / ".venv").symlink_to(sys.prefix)
    own = root / FOLDER
    own.mkdir()
    for block in blocks("csv", "yaml"):
        if name := re.search(r"`([\w-]+\.(?:csv|yaml))`", block.before):
            (own / name[1]).write_text(block.text, encoding="utf-8")
    (own / "redo-secret.txt").write_text(SECRET, encoding="utf-8")
    lines = ['backfill() { case $1 in run) command backfill "$@" --yes ;; *) command backfill "$@" ;; esac; }']
    for _, command, _ in RUN:
        lines += [command, f'echo "{END} $?"']
    script = root / "story.sh"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("REDO_", "BACKFILL_"))}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    with SandboxThread(Options(secrets=frozenset({SECRET}))) as box:
        env |= {"REDO_BASE_URL": box.base_url, "NO_PROXY": "*", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            ["sh", script],
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            check=False,
        )
        output = done.stdout.decode().replace(box.base_url, api.BASE_URL)
    parts = re.split(rf"{END} (\d+)\n", output)
    return [(shown(text, root), int(status)) for text, status in zip(parts[:-1:2], parts[1::2], strict=True)]


def shown(text: str, root: Path) -> str:
    """An output with `…` for what differs from run to run, and with the question that a terminal would be asked."""
    text = text.replace(str(root.resolve()), "…").replace(str(root), "…")
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "…", text)
    # The events of README.md are of 2024; what is later is the clock's.
    text = re.sub(r"20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\dZ", "…", text)
    text = re.sub(r"(127\.0\.0\.1:)\d+", r"\1…", text)
    risk = r"^(Flows that listen to .*\n(?:The API has no flag .*\n)?)"
    return re.sub(risk, r"\1Send them? [y/N]: y\n", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    return run_all(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("number", range(len(RUN)), ids=[command for _, command, _ in RUN])
def test_a_command_prints_what_is_shown(outputs: list[tuple[str, int]], number: int) -> None:
    block, command, expected = RUN[number]
    output, status = outputs[number]
    assert status in (0, 3), f"{command} ended with {status}:\n{output}"
    if block.language == "console":
        assert output == expected, f"{command}: if it is right so, run `python tests/test_readme.py`"


def test_the_path_with_ones_own_file_delivers(outputs: list[tuple[str, int]]) -> None:
    said = {command: text for (_, command, _), (text, _) in zip(RUN, outputs, strict=True)}
    assert "3 accepted" in said["backfill run orders.yaml --sandbox"]
    assert "1 accepted" in said["backfill run orders.yaml --limit 1"]
    last = [
        text for (_, command, _), (text, _) in zip(RUN, outputs, strict=True) if command.endswith("run orders.yaml")
    ]
    assert "2 accepted" in last[0]
    assert "3 already delivered" in last[1]


def test_what_make_is_told_to_do_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {command.split()[1] for _, command, _ in COMMANDS if command.startswith("make ")}
    named |= set(re.findall(r"`make ([\w-]+)`", README))
    assert named
    assert named <= targets


def test_scripts_that_are_named_are_there() -> None:
    scripts = [command.split()[1] for _, command, _ in COMMANDS if command.startswith(".venv/bin/python ")]
    assert [ROOT / script for script in scripts if (ROOT / script).is_file()] == [ROOT / script for script in scripts]


# ---------------------------------------------------------------------------------------------------------------- YAML

SOURCE = "source: {files: orders.csv}\n"
EVENTS = {
    "eventName": "eventName: Order Placed",
    "uniqueId": 'uniqueId: "order:{order_id}"',
    "eventTimestamp": 'eventTimestamp: "{created_at}"',
    "customer": 'customer: {email: "{email}"}',
}


def whole(text: str) -> str:
    """A mapping around a fragment of one: a part of the file, or of an event."""
    keys = set(re.findall(r"^([\w$]+):", text, re.MULTILINE))
    if keys <= set(Event.model_fields):
        lines = [*(line for key, line in EVENTS.items() if key not in keys), *text.splitlines()]
        return SOURCE + "events:\n  -\n" + "".join(f"    {line}\n" for line in lines)
    if "events" not in keys:
        text += "events:\n  -\n" + "".join(f"    {line}\n" for line in EVENTS.values())
    return text if "source" in keys else SOURCE + text


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.text.splitlines()[0])
def test_yaml_is_a_mapping_or_a_part_of_one(block: Block) -> None:
    draft = parse(whole(block.text))
    assert [problem.render("README.md") for problem in draft.problems] == []
    assert draft.mapping is not None


def test_the_reference_is_the_generated_one() -> None:
    found = REFERENCE.search(README)
    assert found is not None
    assert found[2] == reference(), "run `python tests/test_readme.py`"


def mapping_page(readme: str) -> str:
    """`backfill help mapping`: README's chapter, without links into the repository and marks of this file."""
    part = readme.partition("\n## The mapping\n")[2].partition("\n## ")[0]
    part = re.sub(r"\[([^\]]+)\]\((?!https:)[^)]+\)", r"\1", part)
    part = re.sub(r"<!-- /?reference -->\n\n?", "", part)
    part = re.sub(r"^##(#+) ", r"\1 ", part, flags=re.MULTILINE)
    return f"# The mapping file\n{part.rstrip()}\n"


def test_the_page_on_the_mapping_is_this_chapter() -> None:
    assert MAPPING_PAGE.read_text(encoding="utf-8") == mapping_page(README), "run `python tests/test_readme.py`"


def reference() -> str:
    return f"\n{reference_markdown().strip()}\n\n"


# --------------------------------------------------------------------------------------------------- links and tables


def table(heading: str) -> list[list[str]]:
    """The cells of all tables under a heading, without their heads."""
    part = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line.startswith("|")]
    heads = {number - 1 for number, row in enumerate(rows) if set(row[0]) == {"-"}}
    return [[cell.strip() for cell in row] for number, row in enumerate(rows) if not {number, number - 1} & heads]


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    without_code = BLOCK.sub("", text)
    headings = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "sample_data/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def all_errors(kind: type[errors.BackfillError] = errors.BackfillError) -> Iterator[type[errors.BackfillError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


def test_the_exit_statuses_are_those_of_the_code() -> None:
    told = {int(status) for row in table("Exit statuses") for status in row[0].split(", ")}
    interrupted = {errors.InterruptedRun("", signal=number).status for number in (2, 15)}
    # 0: all is delivered; 3: some rows or events were rejected. Neither is an error.
    assert told == {0, 3} | {kind.exit_status for kind in all_errors()} | interrupted


def test_the_commands_are_those_of_the_command_line() -> None:
    rows = [row[0] for row in table("Commands") if row[0].startswith("`backfill ")]
    assert {row.strip("`").split()[1] for row in rows} == set(command_line.commands)
    named = set(re.findall(r"`backfill ([a-z]+)", README)) | {
        command.split()[1] for _, command, _ in RUN if command.startswith("backfill ")
    }
    assert named <= set(command_line.commands)


def test_options_are_those_of_the_command_line() -> None:
    known = {"--help"} | {
        name for command in command_line.commands.values() for option in command.params for name in option.opts
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) <= known
    run = {name for option in command_line.commands["run"].params for name in option.opts if name.startswith("--")}
    told = {name for row in table("Commands") for name in re.findall(r"--[a-z-]+", row[0])}
    assert run <= told, "options of `run` that README.md does not tell"


def test_the_environment_variables_are_those_of_the_code() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "backfill").rglob("*.py")]
    # settings.py makes BACKFILL_RATE and its like from names, in messages only.
    found = set(itertools.chain(*(re.findall(r"\b(?:REDO|BACKFILL)_[A-Z_]*[A-Z]\b", source) for source in sources)))
    assert {row[0].strip("`") for row in table("Environment variables")} == found


# ------------------------------------------------------------------------------------------------------- written anew


def rewrite() -> None:
    """Write the reference and the outputs into README.md, and its chapter on the mapping into the help."""
    with tempfile.TemporaryDirectory() as root:
        results = iter(run_all(Path(root)))

    def again(match: re.Match[str]) -> str:
        block = Block(match[1], match[2], "")
        if block.language not in ("sh", "console"):
            return match[0]
        text = ""
        for command, _ in block.commands:
            output = "" if command.startswith(NOT_RUN) else next(results)[0]
            text += f"$ {command}\n{output}"
        return f"```console\n{text}```" if block.language == "console" else match[0]

    text = BLOCK.sub(again, README)
    text = REFERENCE.sub(lambda match: match[1] + reference() + match[3], text)
    PATH.write_text(text, encoding="utf-8")
    MAPPING_PAGE.write_text(mapping_page(text), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
