"""A copy of each run's folder in another place, for machines whose disk does not last: a bucket, or a folder.

The folder itself stays where it is, and what is sent does not hang on its copy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from backfill.errors import BackfillError, SettingsError, StorageError
from backfill.objectstore import fault, filesystem, is_stored, place

__all__ = ["copy_run", "place_of_copies"]

# So that a browser shows them, and nobody's browser runs what a row says.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".csv": "text/csv; charset=utf-8",
}
ASIDE = "the run's folder is not lost: it is at"


def place_of_copies(text: str, where: str) -> str:
    """Where copies go: an object store's URL, or a folder's absolute path; `where` names the setting.

    Raises SettingsError.
    """
    if is_stored(text):
        try:
            place(text)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error.message}", hint=error.hint) from None
        if "?" in text or "*" in text:
            raise SettingsError(f"{where}: has to be a plain place", hint="as in s3://bucket/backfill-runs")
        return text.rstrip("/")
    if "://" in text:
        raise SettingsError(
            f"{where}: copies go to s3://, gs:// or az://, or to a folder", hint="as in s3://bucket/backfill-runs"
        )
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100 (a link stays what it is called)


def copy_run(folder: Path, to: str, names: Sequence[str] = ()) -> str:
    """Copy a run's files (or those `names`) into a folder of its name in `to`; gives where they are then.

    Raises StorageError, which says where the run's folder is.
    """
    target = f"{to}/{folder.name}"
    try:
        files = [one for one in sorted(folder.iterdir()) if one.is_file() and not one.name.startswith(".")]
        chosen = [one for one in files if not names or one.name in names]
        # The page first: if there is time for one only, it says most.
        chosen.sort(key=lambda one: one.suffix != ".html")
        for file in chosen:
            if is_stored(to):
                _upload(file, f"{target}/{file.name}")
            else:
                _copy(file, Path(target))
    except BackfillError as error:
        raise _failed(target, folder, error.message, error.hint) from error
    except OSError as error:
        meant = fault(to, error) if is_stored(to) else None
        why = meant.why if meant else error.strerror or str(error)
        raise _failed(target, folder, why, meant.hint if meant else "see to the place and its permissions") from error
    return target


def _failed(target: str, folder: Path, why: str, hint: str) -> StorageError:
    return StorageError(f"copying the run to {target}: {why}; {ASIDE} {folder}", hint=f"{hint}; copy it by hand")


def _upload(file: Path, url: str) -> None:
    at = place(url)
    store = filesystem(at)
    metadata = {"Content-Type": TYPES.get(file.suffix, "application/octet-stream")}
    # Without `compression=None` pyarrow would compress what is called .gz.
    with file.open("rb") as source, store.open_output_stream(at.path, compression=None, metadata=metadata) as out:
        shutil.copyfileobj(source, out, 8_388_608)


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = folder / f".{file.name}.new"
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with file.open("rb") as source, os.fdopen(os.open(temporary, how, 0o600), "wb") as out:
        shutil.copyfileobj(source, out)
    temporary.replace(folder / file.name)
