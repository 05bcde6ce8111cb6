from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.mapping import Field, Template, TemplateError, parse_template


@pytest.mark.parametrize(
    "text,parts",
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{a}", (Field("a", 1),)),
        ("order:{order_id}", ("order:", Field("order_id", 7))),
        ("{a}{b}", (Field("a", 1), Field("b", 4))),
        ("{{{a}}}", ("{", Field("a", 3), "}")),
        ("{{a}}", ("{a}",)),
        ("x{a.b} y", ("x", Field("a.b", 2), " y")),
        ("{ a }", (Field(" a ", 1),)),
        ("{Größe} 🎈", (Field("Größe", 1), " 🎈")),
    ],
)
def test_parts(text: str, parts: tuple[str | Field, ...]) -> None:
    assert parse_template(text) == Template(parts)


@pytest.mark.parametrize(
    "text,offset",
    [
        ("{", 0),
        ("ab{c", 2),
        ("a}", 1),
        ("{}", 0),
        ("x{ }", 1),
        ("{a{b}}", 0),
        ("{{}", 2),
        ("{a}}", 3),
        ("{a}}}}", 5),
    ],
)
def test_mistakes_say_where(text: str, offset: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert caught.value.offset == offset
    assert caught.value.message
    assert caught.value.hint


def test_columns_stand_once_and_in_order() -> None:
    assert parse_template("{b}-{a}-{b}").columns == ("b", "a")


def test_only_a_lone_field_is_the_column_itself() -> None:
    assert parse_template("{a}").only == "a"
    assert parse_template("{a} ").only is None
    assert parse_template("a").only is None


@given(st.lists(st.one_of(st.text(min_size=1), st.text("abc .", min_size=1).filter(str.strip).map(Field))))
def test_what_is_escaped_comes_back(parts: list[str | Field]) -> None:
    text = "".join(
        part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else f"{{{part.name}}}" for part in parts
    )
    template = parse_template(text)
    assert template.literal == "".join(part for part in parts if isinstance(part, str))
    assert [part.name for part in template.parts if isinstance(part, Field)] == [
        part.name for part in parts if isinstance(part, Field)
    ]
    assert all(
        text[part.offset : part.offset + len(part.name)] == part.name
        for part in template.parts
        if isinstance(part, Field)
    )
