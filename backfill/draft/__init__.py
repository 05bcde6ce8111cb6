"""An export that nobody has mapped → a first mapping of it, in which each guess says why.

`look` reads some of the export and finds out what its columns hold; `Looked.questions` are the few things that only a
person knows; `Looked.draft` is the mapping's text, checked over what was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backfill.draft import guess
from backfill.draft.guess import Findings
from backfill.draft.lines import Lines, todos
from backfill.draft.presets import FOLDER, Preset, adapted, chosen, heading, load_presets, recognised
from backfill.draft.proof import Proof, prove
from backfill.draft.questions import Question, questions, wrong_answer
from backfill.draft.sample import ROWS, Sample, entry_from, take_sample
from backfill.draft.write import write
from backfill.errors import StorageError, UsageError
from backfill.printable import plural
from backfill.shape import Columns

__all__ = ["FOLDER", "Drafted", "Looked", "Question", "look", "refuse_existing", "save", "todos", "wrong_answer"]

TRIES = 12


@dataclass(frozen=True)
class Drafted:
    """A mapping's text; what it leaves to decide, by line; and what checking it found, a line each."""

    text: str
    todos: Sequence[tuple[int, str]]
    checked: Sequence[str]


@dataclass(frozen=True)
class Looked:
    """An export that was looked at, and the preset that it is recognised by. `path` is where its mapping will be."""

    sample: Sample
    findings: Findings | None
    preset: Preset | None
    path: Path
    files: str
    now: datetime

    @property
    def questions(self) -> list[Question]:
        """What to ask, with the likeliest answers; a preset needs none."""
        return questions(self.findings) if self.findings is not None else []

    @property
    def seen(self) -> str:
        """How much of what was looked at."""
        files = self.sample.files
        name = files[0].file.name if len(files) == 1 else f"{files[0].file.name} and {len(files) - 1:,} more files"
        how = str(files[0].dialect or files[0].file.format)
        rows = plural(self.sample.rows, "row")
        some = f"all {rows}" if self.sample.whole and self.sample.rows > 1 else rows
        if not self.sample.whole:
            some = f"the first {rows}" if len(files) == 1 else f"{rows} from here and there"
        return f"{some} of {name} ({how})" + self._torn()

    def _torn(self) -> str:
        """What is said of rows that can't be read, which are not among those that were looked at."""
        torn = self.sample.unreadable
        if not torn:
            return ""
        kinds = {one.problem for one in torn}
        what = "ragged" if kinds == {"ragged"} else "unreadable"
        first = f"{self.sample.name(torn[0].file)}:{torn[0].row}"
        are = (
            f"more row is {what} and was skipped, "
            if len(torn) == 1
            else f"more rows are {what} and were skipped, from "
        )
        return f"; {len(torn):,} {are}{first}" + (" on" if len(torn) > 1 else "")

    def draft(self, answers: Mapping[str, str]) -> Drafted:
        """The mapping, as these answers say; what is not answered is guessed."""
        if self.findings is None:
            return self._from_preset()
        found, proof = self._proved(self.findings, answers)
        intro = [f"A draft by `backfill init`, from {self.seen}.", *proof.words()]
        if not self.sample.rows:
            intro.append("There are no rows to look at: all of this is a guess by the columns' names.")
        open_ones = todos(write(found, answers, self.files, []))
        decide = "What says TODO is for you to decide; then" if open_ones else "Read it through, then"
        intro.append(f"Each guess says why. {decide} see what `backfill check` says.")
        text = write(found, answers, self.files, intro)
        return self._drafted(text, proof)

    def _proved(self, found: Findings, answers: Mapping[str, str]) -> tuple[Findings, Proof]:
        """What is found fit: a column of which the mapping can make nothing is left out."""
        for left in range(TRIES, -1, -1):
            text = write(found, answers, self.files, [], stand_in=True)
            proof = prove(text, self.path, found.sample, self.now)
            lines = {problem.line for problem in proof.problems}
            bad = {one.column for one in proof.references if one.line in lines}
            if not left or not bad:
                return found, proof
            found = found.without(bad)
        raise AssertionError  # the last round has returned

    def _from_preset(self) -> Drafted:
        assert self.preset is not None
        columns = Columns(self.sample.schema)
        form = self.sample.source.format
        body, missing = adapted(self.preset, self.files, form, list(self.sample.schema), columns.nested)
        proof = prove(body, self.path, self.sample, self.now)
        lines = Lines()
        for line in heading(self.preset, missing):
            lines.say(0, line)
        lines.say(0, f"A draft by `backfill init`, from {self.seen}.")
        for line in proof.words():
            lines.say(0, line)
        for problem in proof.problems:
            lines.say(0, f"TODO: {problem.message}" + (f"; {problem.hint}" if problem.hint else ""))
        lines.lines += [f"# {line}".rstrip() for line in self.preset.note]
        return self._drafted(f"{lines.text()}\n{body}", proof)

    def _drafted(self, text: str, proof: Proof) -> Drafted:
        found = todos(text)
        told = [problem.render(self.path.name) for problem in proof.problems] if self.findings else []
        return Drafted(text, found, [*told, *proof.words()])


def look(
    export: str,
    here: Path,
    path: Path,
    now: datetime,
    *,
    preset: str | None = None,
    presets: Path = FOLDER,
    rows: int = ROWS,
) -> Looked:
    """Look at an export, which is named relative to `here`, for a mapping at `path`.

    `preset` is one's name, `none` for none, None for the one that the export is recognised by. Of the export about so
    many `rows` are read. Raises ExportError when it can't be read, UsageError for a preset that there is not.
    """
    known = load_presets(presets) if preset != "none" else []
    forced = None if preset in (None, "none") else chosen(known, preset)
    sample = take_sample(export, here, rows)
    taken = forced or recognised(known, sample.schema)
    files = entry_from(path.parent, export, here)
    found = guess.look(sample, now) if taken is None else None
    return Looked(sample if found is None else found.sample, found, taken, path, files, now)


def refuse_existing(path: Path) -> None:
    """Raises UsageError for a file that is there already."""
    if path.exists():
        raise UsageError(f"{path}: is there already", hint="init overwrites nothing: name another file")


def save(path: Path, text: str) -> None:
    """Write a draft into a new file. Raises StorageError, for one that has come meanwhile too."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        hint = "name a file in a folder that is there and that you can write to"
        raise StorageError(f"{path}: can't be written: {error.strerror or error}", hint=hint) from error
