"""TABLE.md has each fault with what must happen then, and its tests: they are there, and none is left out of CI."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TABLE = Path(__file__).with_name("TABLE.md")
TESTS = TABLE.parents[1]
FAULTS = 59
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+) \|$")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[int, tuple[str, str, str]]:
    """By number: what goes wrong, what happens then, and the cell that names the tests."""
    found = [match.groups() for line in TABLE.read_text(encoding="utf-8").splitlines() if (match := ROW.match(line))]
    numbers = [int(number) for number, *_ in found]
    assert numbers == sorted(set(numbers)), "each once, and in order"
    return {int(number): (fault, then, tests) for number, fault, then, tests in found}


@cache
def functions(path: Path) -> dict[str, str]:
    """The tests of a file: name, and all that is written of it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for marks in re.findall(r"^pytestmark = (.+)$", ast.unparse(tree), re.MULTILINE):
        assert "skip" not in marks, f"{path.name} may be skipped as a whole"
    return {
        node.name: ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_fault_has_its_line() -> None:
    assert list(rows()) == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("number", range(1, FAULTS + 1))
def test_every_line_has_tests_that_are_there(number: int) -> None:
    fault, then, cell = rows()[number]
    assert fault.strip()
    assert then.strip()
    named = TEST.findall(cell)
    assert named, f"no test of fault {number}: {fault}"
    for file, name in named:
        path = TESTS / file
        assert path.is_file(), f"fault {number}: there is no {file}"
        assert name in functions(path), f"fault {number}: {file} has no {name}"
        # What a machine lacks is asked for by `require`, which fails in CI.
        assert not re.search(r"\b(skip|skipif|xfail)\(", functions(path)[name]), (
            f"fault {number}: {name} may be skipped"
        )
