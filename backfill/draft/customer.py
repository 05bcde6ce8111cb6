"""The part of an event under `customer`."""

from __future__ import annotations

from backfill.draft.columns import Column
from backfill.draft.scalars import flow, scalar, sql_text, value_of
from backfill.draft.sheet import STAND_IN, Sheet
from backfill.draft.values import percent

__all__ = ["write_customer"]

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
MOST = 0.9
MOST_NAMED = 100
# Of these the API takes no other text.
STRICT = ("country_code", "latitude", "longitude")


def write_customer(sheet: Sheet) -> None:
    """Whom the event is about: identifiers, name and place."""
    lines = sheet.lines
    email, phone = sheet.take("email"), sheet.take("phone")
    lines.add(2, "customer:")
    if email is None and phone is None:
        todo = (
            "no column has emails or phone numbers, and the API takes no event without a customer. Join them to "
            'the export, as in email: "{email}"; id: takes only Redo\'s own ids'
        )
        lines.add(3, f"email: {STAND_IN['email']}" if sheet.stand_in else "# email:", todo=todo)
    if email is not None:
        note = f"email, {percent(email.filled, email.rows)} filled"
        wrong = email.filled - email.emails
        lines.add(3, f"email: {value_of(email.reference)}", note + (f"; {wrong:,} are no addresses" if wrong else ""))
    if phone is not None:
        _phone(sheet, phone)
    _person(sheet)
    _location(sheet)


def _phone(sheet: Sheet, column: Column) -> None:
    guess = sheet.found.region
    note = f"phone, {percent(column.filled, column.rows)} filled"
    if guess is None:
        sheet.lines.add(3, f"phoneNumber: {value_of(column.reference)}", f"{note}; all have their country code")
        return
    region = sheet.answers.get("phone_region", guess.value)
    todo = (
        "" if guess.sure else sheet.todo("phone_region", f"are the numbers without + of {guess.value}? {guess.reason}")
    )
    why = "as you said" if "phone_region" in sheet.answers else guess.reason if guess.sure else ""
    code = value_of(column.reference, region=scalar(region))
    sheet.lines.add(3, f"phoneNumber: {code}", f"{note}; {why}" if why else note, todo)


def _person(sheet: Sheet) -> None:
    for role, key in (("first_name", "firstName"), ("last_name", "lastName")):
        column = sheet.take(role)
        if column is not None:
            words = "first name" if role == "first_name" else "last name"
            note = f"{words}, {percent(column.filled, column.rows)} filled"
            sheet.lines.add(3, f"{key}: {value_of(column.reference)}", note)
    full = sheet.take("full_name")
    if full is not None:
        first = f"SPLIT_PART({full.sql}, ' ', 1)"
        last = f"NULLIF(SUBSTR({full.sql}, LENGTH({first}) + 2), '')"
        cut = "its first blank"
        if full.commas > full.filled / 2:
            first, last = f"TRIM(SPLIT_PART({full.sql}, ',', 2))", f"SPLIT_PART({full.sql}, ',', 1)"
            cut = "its comma, the last name first"
        sheet.lines.add(
            3,
            f"firstName: {flow(sql=sql_text(first))}",
            f"one name, {percent(full.filled, full.rows)} filled, cut at {cut}",
        )
        sheet.lines.add(3, f"lastName: {flow(sql=sql_text(last))}")


def _location(sheet: Sheet) -> None:
    columns = [(role, column) for role in PLACES if (column := sheet.take(role)) is not None]
    if columns:
        sheet.lines.add(3, "location:")
    for role, column in columns:
        if role == "country_code" and column.coded < column.known:
            _country_code(sheet, column)
            continue
        note = f"{percent(column.filled, column.rows)} filled"
        options = {"on_invalid": "omit"} if role in STRICT and not _all_countries(column) else {}
        sheet.lines.add(4, f"{PLACES[role]}: {value_of(column.reference, **options)}", note)
        if role == "country" and "country_code" not in sheet.roles and column.known >= MOST * column.filled:
            _country_code(sheet, column)


def _country_code(sheet: Sheet, column: Column) -> None:
    """The codes of countries that are there by name."""
    if not 0 < len(column.countries) <= MOST_NAMED:
        return
    pairs = {scalar(text): scalar(code) for text, code in column.countries}
    rest = column.filled - column.known
    note = f"ISO codes of the names; {rest:,} of {column.filled:,} cells have no country that is known" if rest else ""
    code = value_of(column.reference, map=flow(**pairs), on_invalid="omit")
    sheet.lines.add(4, f"countryCode: {code}", note or "ISO codes of the names")


def _all_countries(column: Column) -> bool:
    return 0 < column.filled == column.coded
