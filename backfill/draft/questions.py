"""The few questions whose answers the data do not have, each with the likeliest as its default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backfill import api
from backfill.draft.columns import Column
from backfill.draft.guess import Findings
from backfill.draft.keys import DEED, EMAIL, THING, UNNAMED, Key
from backfill.mapping import suggest

__all__ = ["Question", "default_id", "id_choices", "questions", "wrong_answer"]

KEYS_OFFERED = 3
# The rank of a key that is called id and no more.
PLAIN_ID = 1
# Events that a customer has once.
PEOPLE = ("Customer Created", "Subscribed")


@dataclass(frozen=True, slots=True)
class Question:
    """`key` names it in the answers; `choices` are what may be answered, anything where there are none."""

    key: str
    text: str
    default: str
    choices: Sequence[str] = ()


def questions(found: Findings) -> list[Question]:
    """What to ask about these findings, in the order of the mapping."""
    asked = []
    unzoned = [column for column in found.times if column.moment and not column.moment.zoned and column.moment.clock]
    if unzoned or (found.time is not None and found.time.moment and not found.time.moment.zoned):
        which = unzoned[0] if unzoned else found.time
        assert which is not None
        asked.append(
            Question(
                "timezone", f'The times in column "{which.reference}" carry no zone. Which is it?', found.zone.value
            )
        )
    doubtful = [column for column in found.times if column.moment is not None and column.moment.other]
    if doubtful:
        moment = doubtful[0].moment
        assert moment is not None
        text = f'Does the day or the month come first in the dates of column "{doubtful[0].reference}"?'
        asked.append(Question("date_order", text, "month" if moment.months_first else "day", ("day", "month")))
    if found.event.column is None:
        asked.append(Question("event_name", "What is an event of this export called?", found.event.name))
    choices = id_choices(found)
    if len(choices) > 1:
        text = "What makes an event this event?"
        asked.append(Question("id", text, default_id(found), tuple(choices)))
    if found.currency is not None and not found.currency.sure:
        text = "No column says the currency of the amounts. Which is it?"
        asked.append(Question("currency", text, found.currency.value))
    if found.region is not None and not found.region.sure:
        text = "Of which country are the phone numbers that have no country code?"
        asked.append(Question("phone_region", text, found.region.value))
    return asked


def id_choices(found: Findings) -> dict[str, Column | None]:
    """What may make the id: a column's name, `group by COLUMN`, or `hash`."""
    choices: dict[str, Column | None] = {}
    for key in [key for key in found.keys if key.rank == THING or _is_trusted(key, found)][:KEYS_OFFERED]:
        choices[key.column.reference] = key.column
    if found.repeats is not None:
        choices[f"group by {found.repeats.column.reference}"] = found.repeats.column
    choices["hash"] = None
    return choices


def default_id(found: Findings) -> str:
    """The likeliest of these."""
    best = next((key for key in found.keys if _is_trusted(key, found)), None)
    group = f"group by {found.repeats.column.reference}" if found.repeats is not None else ""
    if best is not None and best.rank <= DEED and not (group and best.rank == PLAIN_ID):
        return best.column.reference
    if group:
        return group
    return "hash" if best is None else best.column.reference


def _is_trusted(key: Key, found: Findings) -> bool:
    """Whether a column that is different in all rows seen is so for ever."""
    if key.rank <= DEED:
        return True
    # A customer's id tells customers apart, and not what they do.
    people = found.event.name in PEOPLE
    if key.rank in (THING, EMAIL):
        return people
    return key.rank == UNNAMED


def wrong_answer(question: Question, answer: str) -> str:
    """Why an answer can't be taken, in words; "" for one that can."""
    from backfill.mapping.times import bad_zone

    if question.choices:
        if answer in question.choices:
            return ""
        return f"one of {', '.join(question.choices)}, please; {suggest(answer, question.choices)}".rstrip("; ")
    if question.key == "timezone":
        bad = bad_zone(answer)
        return "" if bad is None else f"{bad[0]}; {bad[1]}"
    if question.key == "currency" and answer not in api.CURRENCIES:
        return f'"{answer}" is no currency; ISO 4217, as in USD'
    if question.key == "phone_region" and answer not in api.COUNTRIES:
        return f'"{answer}" is no country; ISO 3166-1 alpha-2, as in US'
    return "" if answer.strip() and answer.isprintable() else "one line of text, please"
