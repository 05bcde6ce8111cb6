"""`source.since` in a mapping: what is wrong with it, and where."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from backfill.mapping import Since, json_schema, parse

TEXT = """\
source:
  files: orders.csv
  since: {since}
events:
  - eventName: Order Placed
    uniqueId: {{hash: [id], prefix: "o:", occurrence: {twins}}}
    eventTimestamp: "{{at}}"
    customer: {{email: "{{email}}"}}
"""


def problems(since: str, twins: str = "false", more: str = "") -> list[str]:
    text = TEXT.format(since=since, twins=twins).replace("  files", f"{more}  files")
    return [problem.render("orders.yaml") for problem in parse(text, "orders.yaml").problems]


def read(since: str) -> Since | None:
    text = TEXT.format(since=since, twins="false")
    jsonschema.validate(yaml.safe_load(text), json_schema())
    mapping = parse(text).mapping
    assert mapping is not None
    return mapping.source.since


def test_what_it_takes():
    assert read("{column: updated_at}") == Since(column="updated_at", lookback="3d")
    assert read("{column: id, lookback: 1000}") == Since(column="id", lookback=1000)
    told = "{column: a, lookback: 12h, format: '%d/%m/%Y', timezone: Europe/London}"
    assert read(told) == Since(column="a", lookback="12h", format="%d/%m/%Y", timezone="Europe/London")


@pytest.mark.parametrize(
    "since, wrong",
    [
        ("updated_at", '3:10: source.since has to be an object, not "updated_at"; as in {column: updated_at, lookback: 3d}'),
        ("{lookback: 3d}", "3:10: source.since.column is missing; as in column: updated_at"),
        ("{colum: a}", '3:11: unknown key "colum" in source.since; did you mean "column"?'),
        ("{column: a, lookback: 3 days}", '3:32: lookback: "3 days" is no duration; did you mean "3d"?'),
        ("{column: a, lookback: 99999w}", '3:32: lookback: "99999w" is more than 100 years'),
        ("{column: a, lookback: -1}", "3:32: lookback has to be a time or a whole number, not the number -1; times as in"),
        ("{column: a, lookback: 5, format: epoch_s}", "3:10: a lookback that is a number is for a column of numbers"),
        ("{column: a, format: YYYY}", '3:30: this format has no directive; write "%Y"'),
        ("{column: a, timezone: Mars}", "3:32: "),
    ],
)  # fmt: skip
def test_what_is_wrong(since, wrong):
    found = problems(since)
    assert any(one.startswith(f"orders.yaml:{wrong}") for one in found), found


def test_what_it_does_not_go_with():
    (twins,) = problems("{column: a}", twins="true")
    assert twins == (
        "orders.yaml:6:42: occurrence does not go with source.since: twins are told apart by all rows; leave since "
        "out, or give an id that tells the rows apart"
    )
    (groups,) = problems("{column: a}", more="  group_by: [id]\n")
    assert groups == (
        "orders.yaml:4:3: since does not go with group_by: a group needs its rows; leave since out: a file that has "
        "not changed since it was delivered is not read again anyway"
    )


def test_its_column_is_looked_for():
    draft = parse(TEXT.format(since="{column: update_at}", twins="false"))
    (problem, *_) = draft.check_columns(["id", "at", "email", "updated_at"], lambda _: False, "orders.csv")
    assert (problem.line, problem.column) == (3, 19)
    assert problem.hint == 'did you mean "updated_at"?'
