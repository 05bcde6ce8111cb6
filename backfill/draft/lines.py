"""Lines of a mapping with what is said about them: the reason behind or above, and what is still to decide."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["TODO", "Lines", "todos"]

WIDTH = 118
TODO = "TODO:"


@dataclass
class Lines:
    """A text that grows line by line."""

    lines: list[str] = field(default_factory=list)

    def add(self, depth: int, code: str, note: str = "", todo: str = "") -> None:
        """A line of YAML. `note` goes behind it, or above where there is no room; `todo` goes above."""
        margin = "  " * depth
        if todo:
            self.say(depth, f"{TODO} {todo}")
        line = f"{margin}{code}  # {note}" if note else margin + code
        if note and len(line) > WIDTH:
            # What an item of a list is said about stands above its dash.
            self.say(depth, note)
            line = margin + code
        self.lines.append(line)

    def say(self, depth: int, text: str) -> None:
        """A comment, on as many lines as it needs."""
        margin = "  " * depth + "# "
        line = ""
        for word in text.split(" "):
            if line and len(margin) + len(line) + 1 + len(word) > WIDTH:
                self.lines.append(margin + line)
                line = "  " + word if text.startswith(TODO) else word
            else:
                line = f"{line} {word}" if line else word
        self.lines.append((margin + line).rstrip())

    def blank(self) -> None:
        self.lines.append("")

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def todos(text: str) -> list[tuple[int, str]]:
    """What a mapping leaves to decide: the line of each TODO, counted from 1, and its words."""
    found: list[tuple[int, str]] = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        code, mark, words = line.partition("# " + TODO)
        if not mark:
            continue
        # One that has a line to itself goes on while comments follow that stand further in.
        for more in lines[at + 1 :] if line.strip().startswith("# " + TODO) else ():
            rest = more.strip()
            if not rest.startswith("#   "):
                break
            words += " " + rest.removeprefix("#").strip()
        found.append((at + 1, words.strip() + (f" ({code.strip()})" if code.strip() else "")))
    return found
