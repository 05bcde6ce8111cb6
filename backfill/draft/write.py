"""Findings and answers → the mapping's text. It is pure: the same ones give the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backfill import api
from backfill.draft.amounts import PLAIN
from backfill.draft.columns import Column
from backfill.draft.guess import Findings, Guess, is_number
from backfill.draft.lines import Lines
from backfill.draft.names import title
from backfill.draft.places import BY_NAME
from backfill.draft.questions import default_id, id_choices, questions
from backfill.draft.scalars import comment, flow, path, quoted, reference, scalar, sql_text, value_of
from backfill.draft.values import amount, described, joined_time, percent, share_words, time, typed

__all__ = ["STAND_IN", "write"]

# What stands for what is to be decided while the rest of a draft is checked.
STAND_IN = {
    "eventTimestamp": "1970-01-01T00:00:00Z",
    "email": "someone@example.com",
}
DATA = api.DATA_PROPERTIES - 50
NAME_LENGTH = 500
QUANTITIES = frozenset(("quantity", "qty", "menge", "anzahl", "units", "pieces", "count", "stück", "cantidad"))
EACH = frozenset(("price", "preis", "prix", "precio", "unit", "each"))
LINE_WORDS = ("Lineitem ", "Line Item ", "Item ", "Product ")
PLACES = {
    "street1": "street1",
    "street2": "street2",
    "city": "city",
    "state": "state",
    "state_code": "stateCode",
    "postal_code": "postalCode",
    "country": "country",
    "country_code": "countryCode",
    "time_zone": "ianaTimeZoneName",
    "latitude": "latitude",
    "longitude": "longitude",
}
# Of these the API takes no other text.
STRICT = ("country_code", "latitude", "longitude")


def write(
    found: Findings, answers: Mapping[str, str], files: str, heading: Sequence[str], *, stand_in: bool = False
) -> str:
    """The mapping of an export. `files` is what `source.files` says, `heading` what stands above all.

    `stand_in` fills in what is missing and has to be decided, so that the rest can be checked.
    """
    return _Writer(found, answers, files, stand_in).text(heading)


@dataclass
class _Writer:
    found: Findings
    answers: Mapping[str, str]
    files: str
    stand_in: bool
    lines: Lines = field(default_factory=Lines)
    used: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=lambda: {"$extra"})

    def __post_init__(self) -> None:
        choices = id_choices(self.found)
        chosen = self.answers.get("id", default_id(self.found))
        self.id = chosen if chosen in choices else default_id(self.found)
        self.grouped = self.id.startswith("group by ") and choices.get(self.id) is not None
        self.key = choices.get(self.id)
        varying = self.found.repeats.varying if self.grouped and self.found.repeats else frozenset[str]()
        self.varying = varying
        self.roles = self.found.steady if self.grouped else self.found.roles
        # Under group_by what a column holds is what its groups hold: an order's own columns may stand on its first row.
        own = {column.reference: column for column in self.found.own if column.reference not in varying}
        self.columns = [own.get(one.reference, one) if self.grouped else one for one in self.found.columns]
        self.asked = {question.key for question in questions(self.found)}
        first = self.answers.get("date_order")
        self.months_first = None if first is None else first == "month"

    def text(self, heading: Sequence[str]) -> str:
        for line in heading:
            self.lines.say(0, line)
        self.left_out()
        self.lines.blank()
        self.source()
        self.lines.blank()
        self.lines.add(0, "events:")
        self.name()
        self.unique_id()
        self.timestamp()
        self.value()
        self.customer()
        self.data()
        return self.lines.text()

    def take(self, role: str) -> Column | None:
        column = self.roles.get(role)
        if column is not None:
            self.used.add(column.reference)
        return column

    def todo(self, key: str, text: str) -> str:
        """What is to decide, unless the user was asked and has decided."""
        return "" if key in self.answers else text

    # ------------------------------------------------------------------------------------------------- what is left out

    def left_out(self) -> None:
        kinds = {
            "empty": "Empty, left out",
            "bytes": "Bytes, left out",
            "secret": "Left out, as they look like secrets",
            "unfit": "Left out, as no mapping can read them",
        }
        groups: dict[str, list[str]] = {}
        for column, why in self.found.left:
            kind, _, shown = why.partition(" ")
            label = kinds.get(kind, "The same in every row, left out")
            groups.setdefault(label, []).append(comment(column.reference) + (f" ({comment(shown)})" if shown else ""))
        for label, columns in groups.items():
            more = f" and {len(columns) - 40} more" if len(columns) > 40 else ""
            self.lines.say(0, f"{label}: {', '.join(columns[:40])}{more}.")

    # --------------------------------------------------------------------------------------------------------- source

    def source(self) -> None:
        found, lines = self.found, self.lines
        source = found.sample.source
        lines.add(0, "source:")
        lines.add(1, f"files: {path(self.files)}")
        if source.format:
            lines.add(1, f"format: {source.format}", "by the file's beginning: its suffix does not tell")
        self.csv()
        self.numbers()
        self.zone()
        for sql, why in found.tests:
            lines.say(1, f"{why}; to leave them out take the # away:")
            lines.lines.append(f"  # where: {sql_text(sql)}")
        self.group()

    def csv(self) -> None:
        found, lines = self.found, self.lines
        parts: dict[str, str] = {}
        notes: list[str] = []
        dialects = {opened.dialect for opened in found.sample.files if opened.dialect is not None}
        for dialect in list(dialects)[:1]:
            if dialect.encoding not in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
                parts["encoding"] = scalar(dialect.encoding)
                notes.append("the encoding is a guess, by the letters that are not ASCII")
            if not dialect.header:
                parts["header"] = "false"
                notes.append("the first line looks like data: name the columns with columns: [...]")
            if len(dialect.columns) == 1 and len(found.columns) == 1:
                notes.append("one column was found: if there are more, say separator:")
        if found.nulls:
            parts["null_values"] = "[" + ", ".join(quoted(word) for word in found.nulls) + "]"
            told = ", ".join(f'"{comment(word)}" in {count:,}' for word, count in found.nulls.items())
            notes.append(f"taken for empty: {told} {'cell' if sum(found.nulls.values()) == 1 else 'cells'}")
        for note in notes:
            lines.say(1, note)
        if parts and len(dialects) <= 1:
            lines.add(1, f"csv: {flow(**parts)}")

    def numbers(self) -> None:
        style = self.found.style
        if style == PLAIN:
            return
        parts = {"decimal": quoted(style.decimal)} if style.decimal != "." else {}
        if style.thousands:
            parts["thousands"] = quoted(style.thousands)
        shown = [
            f"{comment(one, 20)} in {comment(column.reference)}"
            for column in self.found.columns if column.number is not None and not column.private
            for one in column.examples if not one.isdigit()
        ]  # fmt: skip
        note = f"as in {shown[0]}" if shown else "by how the numbers are written"
        todo = (
            "1,234 could be a thousand or one and a fraction; a thousand is likelier"
            if self.found.doubtful_style
            else ""
        )
        self.lines.add(1, f"numbers: {flow(**parts)}", note, todo)

    def zone(self) -> None:
        if "timezone" not in self.asked:
            return
        zone = self.found.zone
        which = [column for column in self.found.times if column.moment is not None and not column.moment.zoned]
        names = comment(which[0].reference) if which else "the times"
        others = f" and {len(which) - 1} more" if len(which) > 1 else ""
        plural = "carry" if others else "carries"
        todo = (
            f"{names}{others} {plural} no zone, and {zone.value} is {zone.reason}. Which is it? As in America/New_York"
        )
        note = "as you said" if "timezone" in self.answers else ""
        self.lines.add(
            1, f"timezone: {scalar(self.answers.get('timezone', zone.value))}", note, self.todo("timezone", todo)
        )

    def group(self) -> None:
        repeats = self.found.repeats
        if repeats is None or not self.grouped:
            return
        name = scalar(repeats.column.reference)
        mean = f"{repeats.rows:,} rows have {repeats.groups:,} values of it: line items, so one event for each value"
        if repeats.apart:
            note = f"{mean}; {repeats.apart:,} of them {'comes' if repeats.apart == 1 else 'come'} back later"
            self.lines.add(1, "group_by: " + flow(columns=f"[{name}]", adjacent="false"), note)
        else:
            self.lines.add(1, f"group_by: [{name}]", f"{mean}; rows of one stand together")

    # --------------------------------------------------------------------------------------------------------- event

    def name(self) -> None:
        event, lines = self.found.event, self.lines
        forever = "a name that Redo has never seen becomes a new type, for good"
        if event.column is not None:
            self.used.add(event.column.reference)
            lines.say(1, f"{event.reason}; a type that is not here is rejected, as {forever}")
            pairs = "{" + ", ".join(f"{scalar(old)}: {scalar(new)}" for old, new in event.types) + "}"
            code = flow(column=scalar(event.column.reference), map=pairs)
            lines.add(1, f"- eventName: {code}")
            return
        name = self.answers.get("event_name", event.name)
        value = scalar(name.replace("{", "{{").replace("}", "}}"))
        if "event_name" in self.answers:
            lines.add(1, f"- eventName: {value}", f"as you said; {forever}")
        else:
            todo = "" if event.sure else f'is this what happened? "{name}" is a guess ({event.reason}); {forever}'
            lines.add(1, f"- eventName: {value}", f"{event.reason}; {forever}" if event.sure else "", todo)

    def unique_id(self) -> None:
        found, lines, key = self.found, self.lines, self.key
        prefix = found.event.prefix
        never = "never change it after you sent"
        looked = "all" if found.sample.whole else "the"
        if key is None:
            hashed = [column.reference for column in found.hashed] or self.hashable()
            names = "[" + ", ".join(map(scalar, hashed)) + "]" if hashed else '"*"'
            code = flow(hash=names, prefix=quoted(f"{prefix}:"), occurrence="true")
            lines.say(
                2, f"no column identifies a row, so several do together; of rows alike in them each counts. {never}"
            )
            lines.add(2, f"uniqueId: {code}")
            return
        short = reference(key.reference)
        if self.grouped:
            note = f"one for each group; {never}"
        else:
            note = f"filled and different in {looked} {found.rows:,} rows; {never}"
            if not found.rows:
                note = f"by its name; {never}"
            elif not key.unique:
                note = f"filled, and different in {key.distinct:,} of {found.rows:,} rows; {never}"
        if short is None or key.kind == "email":
            code = flow(hash=f"[{scalar(key.reference)}]", prefix=quoted(f"{prefix}:"))
            note += "; a hash, so that no address is in an id" if key.kind == "email" else ""
        else:
            code = quoted(f"{prefix}:{short}")
        lines.add(2, f"uniqueId: {code}", note)

    def hashable(self) -> list[str]:
        roles = ("time", "email", "phone", "value")
        return [self.found.roles[role].reference for role in roles if role in self.found.roles]

    def timestamp(self) -> None:
        column = self.take("time")
        if column is None:
            todo = 'no column tells when it happened. Name one, as in eventTimestamp: "{created_at}", or a date for all'
            self.lines.add(2, f"eventTimestamp: {STAND_IN['eventTimestamp']}" if self.stand_in else "# eventTimestamp:",
                           todo=todo)  # fmt: skip
            return
        clock = self.roles.get("clock")
        joined = (
            None
            if clock is None or clock.filled < column.filled
            else joined_time(column, clock, months_first=self.months_first)
        )
        code, note = joined or time(column, months_first=self.months_first)
        if joined is not None and clock is not None:
            self.used.add(clock.reference)
        self.lines.add(2, f"eventTimestamp: {code}", note + self.emptiness(column), self.doubt(column))

    def emptiness(self, column: Column) -> str:
        return f"; {share_words(column)}" if column.filled < column.rows and not self.grouped else ""

    def doubt(self, column: Column) -> str:
        """What is to decide about a column's dates."""
        moment = column.moment
        if moment is None:
            return ""
        if moment.mixed:
            return f"some dates of {comment(column.reference)} have the day first and some the month: which is right?"
        if moment.other is None or self.months_first is not None:
            return ""
        first, second = ("month", "day") if moment.months_first else ("day", "month")
        shown = "" if column.private or not column.examples else f" such as {comment(column.examples[0], 40)}"
        return (
            f"the data can't tell whether day or month comes first in {comment(column.reference)}{shown}: "
            f"no part is over 12. The {first} first is likelier ({moment.reason}); "
            f"the {second} first is format: {quoted(moment.other)}"
        )

    def value(self) -> None:
        column = self.take("value")
        if column is not None:
            self.worth(column)
        elif self.grouped and self.found.roles.get("value") is not None:
            self.sum(self.found.roles["value"])
        else:
            return
        self.currency()

    def worth(self, column: Column) -> None:
        if {"cents", "cent", "minor"} & set(column.name.words) and (column.number is None or not column.number.sign):
            self.lines.add(2, f"value: {flow(sql=sql_text(f'{column.sql} / 100'))}", "by its name in cents")
            return
        code, note = amount(column, self.found.style, needed=True)
        shown = described(column) if not note else note + described(column)
        self.lines.add(2, f"value: {code}", shown)

    def sum(self, column: Column) -> None:
        """No column has the whole's worth: it is the sum of the lines'."""
        if column.number is not None and column.number.sign:
            return
        counts = [
            one for one in self.found.columns if QUANTITIES & set(one.name.words) and is_number(one, self.found.style)
        ]
        times = bool(counts and EACH & set(column.name.words))
        sql = f"SUM({column.sql} * {counts[0].sql})" if times else f"SUM({column.sql})"
        why = f"{comment(column.reference)} of each row" + (f" times {comment(counts[0].reference)}" if times else "")
        self.lines.add(
            2, f"value: {flow(sql=sql_text(sql))}", todo=f"the sum of {why} is a guess: is it the whole's worth?"
        )

    def currency(self) -> None:
        column, guess = self.take("currency"), self.found.currency
        if column is not None:
            self.lines.add(2, f"valueCurrency: {value_of(column.reference)}", described(column))
            return
        guess = guess or Guess("USD", "a guess")
        said = "currency" in self.answers
        code = self.answers.get("currency", guess.value)
        todo = "" if guess.sure else self.todo("currency", f"no column says the currency; {code} is {_by(guess)}")
        self.lines.add(2, f"valueCurrency: {code}", "as you said" if said else guess.reason if guess.sure else "", todo)

    # ------------------------------------------------------------------------------------------------------ customer

    def customer(self) -> None:
        lines = self.lines
        email, phone = self.take("email"), self.take("phone")
        lines.add(2, "customer:")
        if email is None and phone is None:
            todo = (
                "no column has emails or phone numbers, and the API takes no event without a customer. Join them to "
                'the export, as in email: "{email}"; id: takes only Redo\'s own ids'
            )
            lines.add(3, f"email: {STAND_IN['email']}" if self.stand_in else "# email:", todo=todo)
        if email is not None:
            note = f"email, {percent(email.filled, email.rows)} filled"
            wrong = email.filled - email.emails
            lines.add(
                3, f"email: {value_of(email.reference)}", note + (f"; {wrong:,} are no addresses" if wrong else "")
            )
        if phone is not None:
            self.phone(phone)
        self.person()
        self.location()

    def phone(self, column: Column) -> None:
        guess = self.found.region
        note = f"phone, {percent(column.filled, column.rows)} filled"
        if guess is None:
            self.lines.add(3, f"phoneNumber: {value_of(column.reference)}", f"{note}; all have their country code")
            return
        region = self.answers.get("phone_region", guess.value)
        todo = (
            ""
            if guess.sure
            else self.todo("phone_region", f"are the numbers without + of {guess.value}? {guess.reason}")
        )
        why = "as you said" if "phone_region" in self.answers else guess.reason if guess.sure else ""
        code = value_of(column.reference, region=scalar(region))
        self.lines.add(3, f"phoneNumber: {code}", f"{note}; {why}" if why else note, todo)

    def person(self) -> None:
        for role, key in (("first_name", "firstName"), ("last_name", "lastName")):
            column = self.take(role)
            if column is not None:
                words = "first name" if role == "first_name" else "last name"
                note = f"{words}, {percent(column.filled, column.rows)} filled"
                self.lines.add(3, f"{key}: {value_of(column.reference)}", note)
        full = self.take("full_name")
        if full is not None:
            first = f"SPLIT_PART({full.sql}, ' ', 1)"
            last = f"NULLIF(SUBSTR({full.sql}, LENGTH({first}) + 2), '')"
            self.lines.add(
                3,
                f"firstName: {flow(sql=sql_text(first))}",
                f"one name, {percent(full.filled, full.rows)} filled, cut at its first blank",
            )
            self.lines.add(3, f"lastName: {flow(sql=sql_text(last))}")

    def location(self) -> None:
        columns = [(role, column) for role in PLACES if (column := self.take(role)) is not None]
        if columns:
            self.lines.add(3, "location:")
        for role, column in columns:
            note = f"{percent(column.filled, column.rows)} filled"
            options = {"on_invalid": "omit"} if role in STRICT and not _all_countries(column) else {}
            self.lines.add(4, f"{PLACES[role]}: {value_of(column.reference, **options)}", note)
            if role == "country" and "country_code" not in self.roles:
                self.country_code(column)

    def country_code(self, column: Column) -> None:
        """The codes of countries that are there by name."""
        values = [value for value, _ in column.values]
        if values and all(value.casefold() in BY_NAME for value in values):
            pairs = {scalar(value): scalar(BY_NAME[value.casefold()]) for value in values}
            self.lines.add(4, f"countryCode: {value_of(column.reference, map=flow(**pairs), on_invalid='omit')}")

    # ---------------------------------------------------------------------------------------------------------- data

    def data(self) -> None:
        out = {column.reference for column, _ in self.found.left}
        rest = [column for column in self.columns if column.reference not in self.used | out]
        long = [column for column in rest if len(column.reference) > NAME_LENGTH]
        rest = [column for column in rest if len(column.reference) <= NAME_LENGTH]
        plain = [column for column in rest if column.reference not in self.varying]
        lines = [column for column in rest if column.reference in self.varying]
        if not rest:
            return
        self.lines.add(2, "data:")
        extra: list[tuple[Column, str, str]] = []
        count = 0
        for column in plain:
            code, note, nested = typed(column, self.found.style, months_first=self.months_first)
            if nested or count >= DATA:
                extra.append((column, code, note))
            else:
                count += 1
                self.lines.add(3, f"{self.title(column, self.names)}: {code}", note, self.doubt(column))
        if extra or lines:
            self.nested(extra, lines)
        if long:
            self.lines.say(3, f"{len(long)} columns with very long names are left out")

    def nested(self, extra: Sequence[tuple[Column, str, str]], items: Sequence[Column]) -> None:
        names: set[str] = set()
        self.lines.add(3, "$extra:", "kept with the event, but nothing can be segmented by it")
        for column, code, note in extra:
            self.lines.add(4, f"{self.title(column, names)}: {code}", note, self.doubt(column))
        if items:
            self.lines.add(4, f"{_free('Items', names)}:")
            self.lines.add(5, "collect:", "what differs inside of a group")
        inner: set[str] = set()
        for column in items:
            code, note, _ = typed(column, self.found.style, months_first=self.months_first)
            self.lines.add(6, f"{self.title(column, inner, item=True)}: {code}", note, self.doubt(column))

    def title(self, column: Column, taken: set[str], *, item: bool = False) -> str:
        name = title(column.label)
        for word in LINE_WORDS if item else ():
            if name.startswith(word) and len(name) > len(word):
                name = title(name.removeprefix(word))
        return scalar(_free(name, taken))


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken."""
    fresh, number = name, 1
    while fresh in taken:
        number += 1
        fresh = f"{name} ({number})"
    taken.add(fresh)
    return fresh


def _all_countries(column: Column) -> bool:
    return bool(column.values) and all(value.strip().upper() in api.COUNTRIES for value, _ in column.values)


def _by(guess: Guess) -> str:
    return guess.reason if guess.reason == "a guess" else f"a guess {guess.reason}"
