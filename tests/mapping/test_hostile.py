"""Files that are no mapping, or that mean harm: refused with the line, and quickly."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backfill.mapping import parse, read

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{name}: &{name} [{','.join(['*' + last] * 10)}]" for last, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text,place,message",
    [
        ("a: 1\n\tb: 2", (2, 1), "YAML is not indented with tabs; use spaces"),
        ("a:\n  - b\n \t- c", (3, 2), "YAML is not indented with tabs; use spaces"),
        ("source: {files: a\nevents: []", (2, 7), 'a "," or "}" is missing'),
        ("a: b: c", (1, 5), 'a second ":" where none can be'),
        ("a: {b}: {c}", (1, 7), ""),
        ("a: 'x\nb: 2\n", (3, 1), "the quotes are never closed"),
        ('a: "\\q"', (1, 6), "this is no escape in double quotes"),
        ('a: "\\U99999999"', (1, 5), ""),
        ("a: @x", (1, 4), "this character can't begin a text"),
        ("a: 1\n b: 2", (2, 3), 'a second ":" where none can be'),
        ("a: *x", (1, 4), "no anchor &x stands before this"),
        ("a: &x [*x]", (1, 8), "no anchor &x stands before this"),
        ("a: 1\n---\nb: 2", (2, 1), "a mapping is one YAML document"),
        ("a: \x01", (1, 4), "U+0001 can't stand in YAML"),
        ("a: 1\nb: \ud800", (2, 4), "U+D800 can't stand in YAML"),
        ("[" * 100, (1, 52), "more than 50 levels of nesting"),
        ("a: " + "[" * 100 + "]" * 100, (1, 54), "more than 50 levels of nesting"),
        (LAUGHS, (5, 17), "more than 50,000 values"),
        ("source: " + "x" * 1_000_001, (1, 1), "a mapping has at most 1 MB"),
        ("source: !!python/object/apply:os.system [echo]", (1, 9), "tags are not read: !!python/object/apply:os.system"),
        ("source: !custom {}", (1, 9), "tags are not read: !custom"),
        ("source: !!python/name:os.system ''", (1, 9), "tags are not read: !!python/name:os.system"),
        ("source: !!python/object/new:os.system {}", (1, 9), "tags are not read"),
        ("source: !<tag:yaml.org,2002:python/module:os> x", (1, 9), "tags are not read"),
        ("%TAG ! tag:yaml.org,2002:python/\n---\nsource: !name:os.system x", (3, 9), "tags are not read"),
        ("source: {}\n!!python/name:os.system events: []", (2, 1), "tags are not read"),
        ("source: !!binary eA==", (1, 9), "tags are not read: !!binary"),
        ("source: !!set {a}", (1, 9), "tags are not read: !!set"),
        ("source: !!merge x", (1, 9), "tags are not read: !!merge"),
        ("a: &a {x: 1}\nb:\n  <<: *a", (3, 3), "merge keys (<<) are not read; write the keys out"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}", (2, 5), "merge keys (<<) are not read"),
        ("a: &a [x]\n? *a\n: 1", (1, 4), "a key has to be a text"),
        ("source: {}\nsource: {}", (2, 1), 'the key "source" is here twice; first in line 1'),
        ("source:\n  files: a\n  'files': b", (3, 3), 'the key "files" is here twice; first in line 2'),
        ("source: {files: a, csv: {quote: x, quote: y}}", (1, 36), 'the key "quote" is here twice; first in line 1'),
        (": x", (1, 1), 'a name is missing before ":"'),
        ("{: x}", (1, 2), 'a name is missing before ":"'),
        ("? {a: 1}\n: 2", (1, 3), "a key has to be a text"),
    ],
    ids=lambda value: ascii(value)[:40],
)  # fmt: skip
def test_refused_with_the_line(text: str, place: tuple[int, int], message: str) -> None:
    started = time.monotonic()
    problems = parse(text, "m.yaml").problems
    assert time.monotonic() - started < 5
    said = [(problem.line, problem.column, f"{problem.message}; {problem.hint}") for problem in problems]
    assert any((line, column) == place and message in text for line, column, text in said), said


@pytest.mark.parametrize(
    "raw,place,message",
    [
        (b"a: 1\nb: caf\xe9 x", (2, 7), "this is not UTF-8"),
        (b"\xff\xfea\x00", (1, 1), "this is not UTF-8"),
        (b"x" * 20_000_000, (1, 1), "a mapping has at most 1 MB"),
        ("ä".encode() * 600_000, (1, 1), "a mapping has at most 1 MB"),
        (b"PK\x03\x04\x00\x00", (1, 3), "U+0003 can't stand in YAML"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bytes_that_are_no_text(tmp_path: pathlib.Path, raw: bytes, place: tuple[int, int], message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(raw)
    [problem] = read(path).problems
    assert ((problem.line, problem.column), problem.message) == (place, message)


NESTED = "a: &a x\n" + "".join(
    f"k{i}: &b{i} [{', '.join(['*b' + str(i - 1) if i else '*a'] * 9)}]\n" for i in range(40)
)
BOMBS = {
    "laughs": LAUGHS,
    "laughs in flow": "{a: &a [x,x], b: &b [" + "*a," * 30_000 + "*a]}",
    "nested aliases": NESTED,
    "10 MB": "source: " + "x" * 10_000_000,
    "10 MB of keys": "".join(f"k{i}: 1\n" for i in range(900_000)),
    "many keys": "".join(f"k{i}: 1\n" for i in range(24_000)),
    "one key, often": "a: 1\n" * 24_000,
    "deep": "[" * 900_000,
    "deep in blocks": "- " * 450_000,
    "long quotes": "a: '" + "''" * 400_000,
    "escapes": 'a: "' + "\\x41" * 200_000 + '"',
}


@pytest.mark.slow
def test_bombs_cost_little(tmp_path: pathlib.Path) -> None:
    """In a process of its own, whose memory tells: each is refused, within seconds, and together below 200 MB."""
    for number, text in enumerate(BOMBS.values()):
        (tmp_path / f"{number}.yaml").write_text(text)
    code = (
        "from pathlib import Path\n"
        "from backfill.mapping import read\n"
        f"for number in range({len(BOMBS)}):\n"
        "    assert read(Path(f'{number}.yaml')).problems\n"
        "status = Path('/proc/self/status')\n"
        "print(status.read_text().split('VmHWM:')[1].split()[0] if status.exists() else 0)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200_000, "kB"


KEYS = [
    "source",
    "events",
    "delivery",
    "files",
    "format",
    "csv",
    "numbers",
    "timezone",
    "where",
    "group_by",
    "columns",
    "adjacent",
    "eventName",
    "uniqueId",
    "eventTimestamp",
    "value",
    "valueCurrency",
    "customer",
    "data",
    "$extra",
    "email",
    "phoneNumber",
    "location",
    "latitude",
    "countryCode",
    "customFields",
    "column",
    "sql",
    "template",
    "const",
    "collect",
    "type",
    "map",
    "otherwise",
    "default",
    "required",
    "on_invalid",
    "region",
    "hash",
    "prefix",
    "occurrence",
    "store",
    "rate",
    "flows",
    "separator",
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(KEYS),
    st.sampled_from(["{a}", "{a", "a {b} }", "*", "SUM(a)", "a > 1", "%Y-%m-%d", "epoch_s", "UTC", "US", "012", "json"]),
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=5),
    ),
    max_leaves=20,
)
SHAPED = st.fixed_dictionaries({}, optional={
    "source": TREES,
    "events": st.one_of(TREES, st.lists(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6), max_size=2)),
    "delivery": TREES,
})  # fmt: skip


def written(tree: object) -> str:
    import yaml

    return yaml.safe_dump(tree, allow_unicode=True)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text("ab:{}[]-,'\"&*!|>%@# \n\t~0.e", max_size=60)))
@example("%YAML 9.9\n---\na")
@example("a: !!str\n")
@example("? ")
@example("{a: , }")
@example('"\\x')
def test_any_text_makes_a_draft(text: str) -> None:
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    for problem in parse(text).problems:
        assert 1 <= problem.line <= lines + 1
        assert problem.column >= 1
        assert problem.render("m.yaml").isprintable()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(TREES, SHAPED))
def test_any_tree_makes_a_draft(tree: object) -> None:
    draft = parse(written(tree))
    assert (draft.mapping is None) == bool(draft.problems)
    assert all(problem.line >= 1 and problem.render("m.yaml").isprintable() for problem in draft.problems)
    draft.check_columns(["a"], lambda name: False, "a.csv")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_make_a_draft(raw: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "m.yaml")
        path.write_bytes(raw)
        assert read(path).problems
