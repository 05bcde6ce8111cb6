"""The files of an export: which they are, in which order, and whether they are still the same."""

from __future__ import annotations

import difflib
import glob
import io
import os
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import unquote

from backfill.errors import ExportError
from backfill.objectstore import fault, is_stored
from backfill.read.remote import (
    Fingerprint,
    WebCopy,
    expand,
    is_remote,
    is_web,
    key,
    open_stored,
    root,
    stored_fingerprint,
    web_name,
)

__all__ = ["ExportFile", "Fingerprint", "Format", "find_files", "fingerprint", "open_bytes", "unreadable"]

Format = Literal["csv", "parquet", "ndjson", "arrow", "excel"]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
COMPRESSED = (".gz", ".zst", ".zstd")
# A small file is read at the first look at it, a large one past this buffer.
BUFFER_BYTES = 65_536
GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
# How Hive and Spark name the folder of rows that have no value.
STORE, STORE_IN_PATH = "store", "{store}"
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SEE_TO = "see to its place, its permissions and the connection to it, then run again"


class Reached:
    """How far the one who reads a file has come, for who watches from another thread."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream: weakref.ref[Any] | None = None

    def __reduce__(self) -> tuple[type[Reached], tuple[()]]:
        """Who gets the file elsewhere reads it anew."""
        return Reached, ()

    def begun(self) -> None:
        """It is read anew; it was opened before, for a look at its columns."""
        self._stream = None

    def opened(self, stream: object) -> None:
        """The file is read through this, as it is stored."""
        try:
            self._stream = weakref.ref(stream)
        except TypeError:  # pyarrow's
            self._stream = None

    def bytes(self, size: int) -> int:
        """Bytes of the `size` that are stored; 0 where that is not known."""
        if self._stream is None:
            return 0
        stream = self._stream()
        try:
            return min(size, stream.tell()) if stream is not None else size
        except (OSError, ValueError):  # it is closed: all was read
            return size


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of the export.

    `uri` opens it (an absolute path or a URL), `name` is how messages call it, `hive` are the columns
    that the folders found for it name (`year=2024/`). `copy` is what a web server gave for it. `reached` tells how far
    it is read.
    """

    position: int
    uri: str
    name: str
    format: Format
    hive: tuple[tuple[str, str | None], ...] = ()
    copy: WebCopy | None = field(default=None, compare=False)
    reached: Reached = field(default_factory=Reached, compare=False, repr=False)

    @property
    def remote(self) -> bool:
        return is_remote(self.uri)

    @property
    def stored(self) -> bool:
        """Whether it is an object of a store, which is read where it is, a part at a time."""
        return is_stored(self.uri)


def fingerprint(file: ExportFile) -> Fingerprint:
    """What the file is like now; of a web server, the copy. Raises ExportError."""
    try:
        if file.stored:
            return stored_fingerprint(file.uri)
        # Not Path.stat: a third of the time, and it is asked three times a file.
        stat = os.stat(file.copy.path() if file.copy else file.uri)  # noqa: PTH116
    except OSError as error:
        raise unreadable(file, error, "opened" if file.remote else "read") from error
    return Fingerprint(stat.st_size, stat.st_mtime_ns, str(stat.st_ino))


def unreadable(file: ExportFile, error: BaseException, what: str = "read", hint: str = SEE_TO) -> ExportError:
    """What is told of a file that can't be opened or read; of an object store's file, what the store meant."""
    meant = fault(file.uri, error) if file.stored else None
    if meant is not None:
        return ExportError(f"{file.name}: can't be {what}: {meant.why}", hint=meant.hint)
    return ExportError(f"{file.name}: can't be {what}: {getattr(error, 'strerror', None) or error}", hint=hint)


def find_files(entries: Sequence[str], base: Path, declared: Format | None) -> list[ExportFile]:
    """The files of `source.files`, in the order that the entries and then their names give.

    Entries are relative to `base`: the mapping's folder, or for --files where the command runs. A folder stands for
    every file of a known suffix below it; names that start with `.` or `_` are left out, as Spark and Hive write them
    for themselves.
    """
    found: list[ExportFile] = []
    seen: set[str] = set()
    for written in entries:
        # What `{store}` stands for is found as any glob is, and then looked for in the paths.
        entry, stores = written.replace(STORE_IN_PATH, "*"), _stores_in(written, base)
        try:
            expanded = _expand(entry, base, declared)
        except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL in it, nobody's home, no URL
            reason = getattr(error, "strerror", None) or error
            raise ExportError(f"{entry}: can't be looked for: {reason}", hint=SEE_TO) from error
        folder = root(entry) if is_remote(entry) else _folder(entry, base)
        for uri, name in expanded:
            store = _store_in(uri, stores) if stores else None
            if uri not in seen and (store or not stores):
                seen.add(uri)
                copy = WebCopy(uri) if is_web(uri) else None
                file_format = _format(uri, name, declared)
                hive = _hive(uri, folder)
                if store:
                    hive = (*(one for one in hive if one[0] != STORE), (STORE, store))
                found.append(ExportFile(len(found), uri, name, file_format, hive, copy))
    return found


def _stores_in(entry: str, base: Path) -> re.Pattern[str] | None:
    """What finds the store in the paths of an entry's files; None for an entry without `{store}`.

    It stands within one name, as short as fits; where it stands again, it is the same.
    """
    if STORE_IN_PATH not in entry:
        return None
    full = entry if is_remote(entry) else _absolute(str(base / Path(entry).expanduser()))
    parts = re.split(r"(\{store\}|\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", full)
    kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern, named = "", False
    for part in parts:
        if part == STORE_IN_PATH:
            pattern += "(?P=store)" if named else "(?P<store>[^/]+?)"
            named = True
        elif part.startswith("[") and part.endswith("]"):
            pattern += "[" + re.escape(part[1:-1].replace("!", "^", 1)).replace(r"\-", "-").replace(r"\^", "^", 1) + "]"
        else:
            pattern += kinds.get(part, re.escape(part))
    return re.compile(pattern, re.DOTALL)


def _store_in(uri: str, stores: re.Pattern[str]) -> str | None:
    found = stores.fullmatch(uri)
    return found["store"] if found else None


def open_bytes(file: ExportFile) -> BinaryIO:
    """The file's bytes, decompressed when their beginning is gzip's or zstandard's, whatever the suffix.

    Raises ExportError when it can't be opened; reading a cut or broken one raises OSError, EOFError,
    zlib.error.
    """
    try:
        if file.stored:
            # Readers of columns ask for the parts that they want; others read on and on.
            raw = open_stored(file.uri, on_and_on=file.format not in ("parquet", "arrow"))
        else:
            raw = (file.copy.path() if file.copy else Path(file.uri)).open("rb", buffering=BUFFER_BYTES)
        file.reached.opened(raw)
    except (OSError, ValueError) as error:
        raise unreadable(file, error, "opened") from error
    try:
        if isinstance(raw, io.BufferedReader):
            magic = raw.peek(4)[:4]
        elif file.stored and file.format == "parquet":
            # Nothing is fetched that only confirms what it is called.
            return raw
        else:
            magic = raw.read(4)
            raw.seek(0)
    except OSError as error:
        raw.close()
        raise unreadable(file, error) from error
    if magic[:2] == GZIP or magic == ZSTD:
        from pyarrow import CompressedInputStream

        # The zstandard module ends a cut file as if it were whole; Arrow says that it is cut.
        return cast("BinaryIO", CompressedInputStream(raw, "zstd" if magic == ZSTD else "gzip"))
    if magic == ZIP and file.format != "excel":
        raw.close()
        raise ExportError(f"{file.name}: is a ZIP archive", hint="unpack it and name the file inside")
    return raw


def _expand(entry: str, base: Path, declared: Format | None) -> list[tuple[str, str]]:
    if is_web(entry):
        key(entry)  # which raises ValueError for what is no URL
        return [(entry, web_name(entry))]
    if is_stored(entry):
        return [(url, url) for url in expand(entry, lambda name: bool(declared or _suffix(name) in SUFFIXES))]
    path = Path(entry).expanduser()
    full = path if path.is_absolute() else base / path
    if full.is_dir():
        names = [
            str(found)
            for found in sorted(full.rglob("*"))
            if found.is_file()
            and not any(part.startswith((".", "_")) for part in found.relative_to(full).parts)
            and (declared or _suffix(found.name) in SUFFIXES)
        ]
        if not names:
            raise ExportError(f"{entry}: no file of a known kind in this folder", hint="known are " + _known())
    elif full.is_file():
        names = [str(full)]
    elif full.exists():
        raise ExportError(f"{entry}: is no regular file, and an export is read more than once", hint="save it first")
    elif glob.has_magic(entry):
        # Path.glob takes no absolute pattern.
        names = sorted(name for name in glob.glob(str(full), recursive=True) if Path(name).is_file())  # noqa: PTH207
        if not names:
            raise ExportError(f"{entry}: no file matches this pattern", hint=f"it is looked for in {full.parent}")
    else:
        siblings = [found.name for found in full.parent.iterdir()] if full.parent.is_dir() else []
        close = _near(full.name, siblings)
        hint = f'did you mean "{close}"?' if close else f"it is looked for in {Path(_absolute(str(full))).parent}"
        raise ExportError(f"{entry}: no such file", hint=hint)
    return [(_absolute(name), _shown(name, base)) for name in names]


def _near(name: str, names: Sequence[str]) -> str:
    """The name that was probably meant, whatever its case; empty when none is near."""
    folded = {one.casefold(): one for one in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else ""


def _format(uri: str, name: str, declared: Format | None) -> Format:
    if declared:
        return declared
    known = SUFFIXES.get(_suffix(key(uri) if is_remote(uri) else uri))
    if known is None:
        raise ExportError(f"{name}: its suffix says nothing about its format", hint="set source.format in the mapping")
    return known


def _suffix(name: str) -> str:
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def _hive(uri: str, folder: str) -> tuple[tuple[str, str | None], ...]:
    """Columns from folders such as `year=2024` that were found for an entry, in or below `folder`.

    Not from those that the entry spells out, nor from those above it: an export that moves is the same export.
    """
    name = uri.removeprefix(folder) if is_remote(uri) else os.path.relpath(uri, folder)
    folders = [part.partition("=") for part in re.split(r"[/\\]", name)[:-1]]
    return tuple((key, None if value == HIVE_NULL else unquote(value)) for key, mark, value in folders if mark and key)


def _folder(entry: str, base: Path) -> str:
    """The folder that an entry spells out: all before its first glob."""
    full = base / Path(entry).expanduser()
    if full.is_dir():
        return _absolute(str(full))
    parts = full.parent.parts
    literal = len(parts) if full.is_file() else next((i for i, p in enumerate(parts) if glob.has_magic(p)), len(parts))
    return _absolute(str(Path(*parts[:literal])))


def _absolute(name: str) -> str:
    # Not Path.resolve: a link named by date stays the file that it is called.
    return os.path.abspath(name)  # noqa: PTH100


def _shown(name: str, base: Path) -> str:
    full = _absolute(name)
    below = os.path.relpath(full, base)
    return full if below.startswith("..") else below


def _known() -> str:
    return ", ".join(SUFFIXES) + " (also .gz and .zst)"
