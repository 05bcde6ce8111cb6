"""What the tests of drafting share: an export in a folder, its draft, and what `check` says of that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backfill.draft import Drafted, Looked, look
from backfill.errors import MappingError
from backfill.mapping import Mapping, parse
from backfill.plan import Plan, plan
from backfill.survey import survey
from backfill.tally import Survey

NOW = datetime(2025, 1, 1, tzinfo=UTC)
# What may be missing of a draft, each announced by a TODO.
DECLARED = ("eventTimestamp is missing", "customer has none of", "customer has to be an object", "customer takes")


@dataclass
class Shelf:
    """A folder with exports, each drafted by name."""

    folder: Path

    def put(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def look(self, name: str, **options: object) -> Looked:
        return look(name, self.folder, self.folder / "m.yaml", NOW, **{"preset": "none", **options})  # type: ignore[arg-type]

    def draft(self, name: str, content: str | bytes | None = None, **answers: str) -> Drafted:
        if content is not None:
            self.put(name, content)
        return self.look(name).draft(answers)

    def mapping(self, drafted: Drafted) -> Mapping:
        """The mapping of a draft that decides everything."""
        draft = parse(drafted.text, self.folder / "m.yaml")
        assert draft.problems == [], drafted.text
        assert draft.mapping is not None
        return draft.mapping

    def check(self, drafted: Drafted) -> tuple[Plan, Survey] | None:
        """What `check` finds; None where something declared is missing and everything else is right."""
        draft = parse(drafted.text, self.folder / "m.yaml")
        try:
            planned = plan(draft, NOW)
        except MappingError as error:
            undeclared = [one for one in error.problems if not one.message.startswith(DECLARED)]
            assert not undeclared, (undeclared, drafted.text)
            assert drafted.todos, drafted.text
            return None
        return planned, survey(planned, None, NOW, self.folder)


def line_of(text: str, word: str) -> str:
    """The one line of code that has the word in it, without its indentation and its comment."""
    found = [line.strip() for line in text.splitlines() if word in line and not line.strip().startswith("#")]
    assert len(found) == 1, (word, found, text)
    return re.split(r"  # ", found[0])[0]
