"""The three readers of what others write, each with what must hold for any bytes at all."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from backfill.errors import ExportError, SettingsError
from backfill.mapping import CsvOptions, Draft, Source, parse, read
from backfill.read import OpenedFile, open_export
from backfill.read.dialect import Dialect, Utf8Stream
from backfill.read.files import open_bytes
from backfill.read.records import read_records
from backfill.records import FILE, ROW
from backfill.retry import Answer, Kind, verdict

__all__ = ["TARGETS", "Broken", "Target"]

# On a busy machine, and slowed down by what measures coverage.
SECONDS = 10.0
# Begins with no hexadecimal digit: behind a cut escape, the words could be its own by chance.
SECRET = "Zq~canary-5f1e7c0d9b"
SHOWN_CHARACTERS = 25_000
SCRATCH = Path(tempfile.gettempdir())

Target = Callable[[bytes], None]
Row = tuple[int, tuple[str | None, ...]]


class Broken(AssertionError):
    """A promise that did not hold."""


def holds(condition: object, what: str, *about: object) -> None:
    if not condition:
        raise Broken(what, *about)


def timed(target: Target) -> Target:
    """The target, which may not take long: quadratic time is how small files stop large machines."""

    def run(data: bytes) -> None:
        started = time.process_time()
        target(data)
        took = time.process_time() - started
        holds(took < SECONDS, f"took {took:.1f} s for {len(data):,} bytes")

    return run


# ------------------------------------------------------------------------------------------------------ the mapping


def mapping(data: bytes) -> None:
    """Any file is a mapping, or has problems, each with its place and in words that a terminal can show."""
    try:
        draft = parse(data.decode("utf-8"))
    except UnicodeDecodeError:
        draft = _read(data)
    holds((draft.mapping is None) == bool(draft.problems), "a mapping, or problems", draft)
    lines = len(data.decode("utf-8", "replace").splitlines()) + 1
    for problem in draft.problems:
        said = problem.render("m.yaml")
        holds(1 <= problem.line <= lines and problem.column >= 1, "the place is in the file", lines, problem)
        holds(said.isprintable(), "one printable line", said)
        holds(problem.message and len(said) < SHOWN_CHARACTERS, "some words, not many", said)
    for reference in draft.references():
        holds(1 <= reference.line <= lines, "a column's place is in the file", reference)
    for problem in draft.check_columns(["order_id", "email"], lambda name: False, "a.csv"):
        holds(problem.render("m.yaml").isprintable(), "one printable line", problem)


def _read(data: bytes) -> Draft:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder, "m.yaml")
        path.write_bytes(data)
        return read(path)


# -------------------------------------------------------------------------------------------------------------- CSV

DECLARED: tuple[dict[str, Any], ...] = (
    {},
    {"separator": ";"},
    {"quote": "'"},
    {"quote": ""},
    {"encoding": "cp1252"},
    {"encoding": "shift_jis"},
    {"header": False},
    {"comment": "#"},
    {"skip_lines": 2},
    {"columns": ["a", "b"], "header": True},
)


def rows(data: bytes) -> None:
    """Any file is refused, or its rows are those that the csv module reads, however large the blocks are.

    The first byte says how large, the second what is declared.
    """
    if len(data) < 2:
        return
    block, declared = data[0] % 64 + 1, DECLARED[data[1] % len(DECLARED)]
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(data[2:])
        try:
            export = open_export(Source(files=["a.csv"], csv=CsvOptions(**declared)), Path(folder))
        except (ExportError, SettingsError) as error:
            holds(str(error).isprintable(), "a printable line", str(error))
            return
        [opened] = export.files
        good: list[Row] = []
        bad: list[tuple[int, str]] = []
        refused = False
        try:
            for chunk in export.chunks():
                lines = chunk.frame[ROW].to_list()
                good += zip(lines, chunk.frame.drop(FILE, ROW).rows(), strict=True)
                bad += [(rejection.row, rejection.problem) for rejection in chunk.unreadable]
        except ExportError:
            refused = True
        if opened.repaired or opened.dialect is None:
            return
        bad.sort()
        _in_order(good, bad, data)
        small = _in_blocks(opened, opened.dialect, block)
        # Of a file that is refused, small blocks give what stands before the quote.
        same = small[2] if refused else small == (good, bad, False)
        holds(same, "small blocks tell the same", block, small, good, bad, refused)
        if data[2:4] in (b"\x1f\x8b", b"\x28\xb5"):
            return
        expected = _by_the_csv_module(data[2:], opened.dialect)
        if refused:
            holds(expected[2], "refused for its header, or a quote that never closes", opened.dialect)
        else:
            holds((good, bad, False) == expected, "what the csv module reads", opened.dialect, good, bad, expected)


def _in_order(good: list[Row], bad: list[tuple[int, str]], data: bytes) -> None:
    for places in ([line for line, _ in good], [line for line, _ in bad]):
        holds(all(a < b for a, b in pairwise(places)), "lines go up", places)
        holds(not places or 1 <= places[0] <= places[-1] <= len(data), "lines are in the file", places)
    holds(not {line for line, _ in good} & {line for line, _ in bad}, "a row is read or refused", good, bad)


def _in_blocks(opened: OpenedFile, dialect: Dialect, block: int) -> tuple[list[Row], list[tuple[int, str]], bool]:
    good: list[Row] = []
    bad: list[tuple[int, str]] = []
    try:
        with open_bytes(opened.file) as raw:
            stream: Any = Utf8Stream(raw, dialect.encoding)
            for records in read_records(stream, dialect, "a.csv", block):
                good += zip(records.lines.to_list(), records.frame.rows(), strict=True)
                bad += [(record.line, record.problem) for record in records.bad]
    except ExportError:
        return good, bad, True
    return good, sorted(bad), False


def _by_the_csv_module(data: bytes, dialect: Dialect) -> tuple[list[Row], list[tuple[int, str]], bool]:
    """The same by other means: Python's csv module over the whole text; and whether its last quote stays open."""
    try:
        text = data.decode(dialect.encoding, "surrogateescape" if dialect.encoding == "utf-8" else "undecodable")
    except LookupError:
        import codecs

        codecs.register_error("undecodable", lambda error: ("\udcff", error.end))  # type: ignore[attr-defined]
        text = data.decode(dialect.encoding, "undecodable")
    lines = re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z", text.removeprefix("\ufeff"))
    good: list[Row] = []
    bad: list[tuple[int, str]] = []
    at, header, opened = dialect.skip_lines, dialect.header, False
    while at < len(lines):
        if dialect.comment and lines[at].startswith(dialect.comment):
            at += 1
            continue
        reader = _reader([*lines[at:], "\n"], dialect)
        cells = next(reader)
        line, taken = at + 1, reader.line_num
        at += taken
        # The line that is not in the file was needed: nothing closes the quote.
        opened = at > len(lines)
        if not cells or opened:
            continue
        record = "".join(lines[line - 1 : at])
        if taken > 1 and not _is_strict(lines[line - 1 : at], dialect):
            bad.append((line, "quote"))
        elif len(cells) != len(dialect.columns) and not header:
            bad.append((line, "ragged"))
        elif any("\ud800" <= letter <= "\udfff" for letter in record):
            bad.append((line, "undecodable"))
        elif not header:
            good.append((line, tuple(cell or None for cell in cells)))
        if header and bad:
            # What the columns are called would be a guess.
            return [], [], True
        header = False
    return good, bad, opened


def _reader(lines: Iterable[str], dialect: Dialect, *, strict: bool = False) -> Any:
    if dialect.quote:
        return csv.reader(iter(lines), delimiter=dialect.separator, quotechar=dialect.quote, strict=strict)
    return csv.reader(iter(lines), delimiter=dialect.separator, quoting=csv.QUOTE_NONE, strict=strict)


def _is_strict(lines: Iterable[str], dialect: Dialect) -> bool:
    try:
        list(_reader(lines, dialect, strict=True))
    except csv.Error:
        return False
    return True


# ---------------------------------------------------------------------------------------------------------- answers


def answers(data: bytes) -> None:
    """Any answer has one meaning, in words that are few, printable and without the secret; only a 202 accepts.

    The data is written as on the wire: `202 bulk 3`, headers, an empty line, the body.
    """
    head, _, body = data.partition(b"\n\n")
    first, *fields = head.decode("latin-1").split("\n")
    words = [*first.split(), "", ""]
    status = int(words[0]) if re.fullmatch(r"[1-9]\d\d", words[0], re.ASCII) else 400
    bulk = words[1] == "bulk"
    events = min(int(words[2]), 100) if bulk and re.fullmatch(r"[1-9]\d{0,2}", words[2], re.ASCII) else 1
    # What a client's library lets through: no line breaks within, and bytes as they are.
    headers = httpx.Headers([tuple(field.encode("latin-1").split(b":", 1)) for field in fields if ":" in field])  # type: ignore[misc]
    answer = Answer(status, headers, body[:65_536], len(body) > 65_536)
    found = verdict(answer, events=events, bulk=bulk, wall_now=1.7e9, redact=SECRET)
    holds((status == 202) or found.kind not in (Kind.ACCEPTED, Kind.RESULTS), "only a 202 accepts", found)
    holds(found.after is None or found.after >= 0, "a wait that is none", found.after)
    holds(found.status in (0, status), "the answer's own status", found)
    if found.kind is Kind.RESULTS:
        holds(len(found.results) == events and any(found.results), "a result an event", found)
    said = [found.seen, found.problem.title, found.problem.detail]
    said += [str(result) for result in found.results if result is not None]
    for text in said:
        holds(text.isprintable() or _only_spaces_are_odd(text), "printable words", text)
        holds(len(text) < SHOWN_CHARACTERS, "few words", len(text))
        holds(SECRET not in text, "the secret stays one", text)


def _only_spaces_are_odd(text: str) -> bool:
    """Spaces such as U+00A0 are not printable by Python's lights, and harmless."""
    import unicodedata

    return all(letter.isprintable() or unicodedata.category(letter) in ("Zs", "Co", "Cn") for letter in text)


# ------------------------------------------------------------------------------------------------------------ seeds


def seeds(name: str) -> list[bytes]:
    """Files to begin with: this project's own samples, and one for each way through the code."""
    return [*SEEDS[name]()]


def _mappings() -> Iterable[bytes]:
    root = Path(__file__).parents[2]
    yield from (path.read_bytes() for path in sorted((root / "sample_data").glob("*.yaml")))
    readme = (root / "README.md").read_text(encoding="utf-8")
    yield from (block.encode() for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL))


def _tables() -> Iterable[bytes]:
    head = (Path(__file__).parents[2] / "sample_data" / "shopify_orders.csv").read_bytes()[:1500]
    small = 'id,note\n1,"a\nb"\n2,6" pipe\n3,\n\n4,"say ""hi"""\n5,ä\n6\n# x\n7,=1\r\n8,\ufeffy\n'
    yield b"\x10\x00" + head
    for declared in range(len(DECLARED)):
        yield bytes([7, declared]) + small.encode()
    yield b"\x05\x00" + small.encode("utf-16")
    yield b"\x05\x04" + small.replace("\ufeff", "").encode("cp1252")
    yield b"\x05\x05" + "番号;名\n1;東京\n2;大阪\n".encode("shift_jis")
    yield b"\x01\x00a;b\r1;2\r'x;y';3\r"
    yield b"\x01\x02'a','b'\n'1','x''y'\n"
    yield b"\x03\x00id,problem,detail,file,row\n1,x,y,z,2\n'=1,x,y,z,3\n"


def _answers() -> Iterable[bytes]:
    problem = {"type": "about:blank", "title": "Bad Request", "detail": f"no {SECRET}\u202e\x1b[31m", "instance": "/x"}
    kinds = "content-type: application/problem+json"
    for status in (200, 202, 204, 302, 400, 401, 403, 404, 408, 413, 422, 425, 429, 500, 503):
        head = f"{status} single 1\n{kinds}\nretry-after: {status}\nlocation: https://example.com/{SECRET}?a=b"
        yield head.encode() + b"\n\n" + json.dumps(problem).encode()
    items = [{"index": 0, "status": "queued", "eventId": "x"}, {"index": 1, "status": "rejected", "error": "no"}]
    body = {"total": 2, "accepted": 1, "rejected": 1, "events": items}
    yield f"202 bulk 2\n{kinds}\n\n{json.dumps(body)}".encode()
    yield b"202 bulk 2\n\n\n{}"
    yield b"429 bulk 9\nretry-after: Wed, 21 Oct 2099 07:28:00 GMT\ndate: Wed, 21 Oct 2099 07:27:00 GMT\n\n"
    yield b"502 single 1\ncontent-type: text/html\n\n<html><title>Bad Gateway</title>"
    yield f'401 single 1\n\n{{"error": {{"message": "Bearer {SECRET}", "code": [1, null, 1e999]}}}}'.encode()


WORDS: dict[str, Iterable[bytes]] = {
    "mapping": [
        b"source: ", b"events:\n", b"delivery: ", b"customer: ", b"$extra: ", b"{sql: ", b"{column: ", b"{hash: ",
        b"{collect: ", b"group_by: ", b"&a ", b"*a", b"<<: ", b"!!python/object:", b"%YAML", b"---\n", b"...", b"|\n ",
        b">-\n ", b"? ", b": ", b"- ", b"[", b"]", b"{", b"}", b'"', b"'", b"\\U", b"\\x", b"\t", b"\xe2\x80\xae",
        b"\xef\xbb\xbf", b"\x85", b"\xe2\x80\xa8", b"\r", b"\0", b"#", b"0x", b".inf", b"1e400", b"99999999999999999999",
        b"SELECT * FROM read_csv('x')", b"(", b")", b"CASE WHEN ", b"NOW()", b"{{", b"}}", b"{a}", b"%Y", b"epoch_ms",
    ],
    "csv": [
        b'"', b'""', b",", b";", b"\n", b"\r", b"\r\n", b"\n\n", b'",\n', b'"\n', b',"', b"\0", b"\xff", b"\xef\xbb\xbf",
        b"\xff\xfe", b"\xc3\xa4", b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"#", b"'", b"|", b"\t", b" ",
        b"\x1f\x8b", b"PK\x03\x04", b":file", b"=",
    ],
    "answers": [
        b"\n", b"\n\n", b"{", b"}", b"[", b"]", b'"', b":", b"null", b"1e999", b"-0", b"\\ud800", b"\\u202e", b"\x1b[2J",
        b"retry-after: ", b"location: ", b"//", b"https://[", b"content-type: text/html\n", b"<title>", b"202 bulk 2",
        b'"events":[', b'"index":0', b'"index":true', b'"status":"queued"', b'"error":', b"Wed, 21 Oct 2099", b"inf",
        b"nan", b"\xff", b"\xed\xa0\x80", SECRET.encode(), b"[" * 2000, b"9" * 5000,
    ],
}  # fmt: skip

SEEDS: dict[str, Callable[[], Iterable[bytes]]] = {"mapping": _mappings, "csv": _tables, "answers": _answers}
TARGETS: dict[str, Target] = {"mapping": timed(mapping), "csv": timed(rows), "answers": timed(answers)}


def show(data: bytes, most: int = 300) -> str:
    """The beginning of an input, for a message."""
    return repr(io.BytesIO(data).read(most)) + ("…" if len(data) > most else "")
