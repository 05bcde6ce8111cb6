"""Texts with columns in them: `order:{order_id}`, where `{{` and `}}` are braces."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Field", "Template", "TemplateError", "parse_template"]


class TemplateError(ValueError):
    """A text that is no template; `offset` counts its characters from 0."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Field:
    """`{name}` in a template; `offset` is where the name begins in the text."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """The literal texts, braces unescaped, and the fields, in order; no two literals are neighbours."""

    parts: tuple[str | Field, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns referred to, each once, in order."""
        return tuple(dict.fromkeys(part.name for part in self.parts if isinstance(part, Field)))

    @property
    def only(self) -> str | None:
        """The column, when the template is exactly one field: then it stands for the column's own value."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Field):
            return self.parts[0].name
        return None

    @property
    def literal(self) -> str:
        """The text around the fields."""
        return "".join(part for part in self.parts if isinstance(part, str))


def parse_template(text: str) -> Template:
    """Split a text at its fields. Raises TemplateError, with the offset of the brace that is wrong."""
    parts: list[str | Field] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            literal.append(character)
            at += 2
        elif character == "{":
            end = text.find("}", at)
            inner = text[at + 1 : end if end >= 0 else len(text)]
            if end < 0 or "{" in inner:
                raise TemplateError('"{" is never closed', at, 'write "{{" for a brace that is text')
            if not inner.strip():
                raise TemplateError(f'"{{{inner}}}" names no column', at, 'write "{{}}" for braces that are text')
            if literal:
                parts.append("".join(literal))
                literal.clear()
            parts.append(Field(inner, at + 1))
            at = end + 1
        elif character == "}":
            raise TemplateError('"}" closes nothing', at, 'write "}}" for a brace that is text')
        else:
            literal.append(character)
            at += 1
    if literal:
        parts.append("".join(literal))
    return Template(tuple(parts))
