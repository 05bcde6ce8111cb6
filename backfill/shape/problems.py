"""The problems that shaping can find, each with what to do about it: the words of `check`, report and
rejected.csv.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBLEMS", "Advice", "advice"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What a problem is called, and what mends it."""

    title: str
    fix: str


PROBLEMS: dict[str, Advice] = {
    # rows that can't be read
    "ragged": Advice("too few or too many fields", "mend the row's separators or quotes in the export"),
    "undecodable": Advice("bytes that are no text", "declare source.csv.encoding, or mend the row"),
    "quote": Advice("a quote that swallowed lines", "double the quote, or close it, in the export"),
    "not_json": Advice("a line that is no JSON object", "mend the line in the export"),
    "still_unreadable": Advice(
        "a row that could not be read, still without cells", "mend it in the export; or fill in its cells here"
    ),
    # many stores
    "store_missing": Advice(
        "a row of no store", "fill the cell that delivery.store reads; or give what it holds an id in its map"
    ),
    # values
    "not_a_number": Advice("not a number", "mend the cell; for 1.234,50 declare source.numbers {decimal, thousands}"),
    "not_an_integer": Advice("not a whole number", "mend the cell, or use type: number"),
    "integer_too_large": Advice("a number beyond 2^53", "send it as a text (type: string): JSON would change it"),
    "number_out_of_range": Advice("a number out of range", "mend the cell"),
    "not_a_boolean": Advice("neither true nor false", "mend the cell, or use map to say which texts are true"),
    "not_a_time": Advice("not a time", 'mend the cell, or declare its format:, such as "%d.%m.%Y %H:%M"'),
    "time_without_zone": Advice("a time without a zone", "declare source.timezone, such as America/New_York"),
    "ambiguous_time": Advice(
        "a time that clocks repeat or skip", "declare source.ambiguous: earliest or latest, or mend the cell"
    ),
    "time_in_future": Advice("a time in the future", "mend the cell; if all are, the zone or the format is wrong"),
    "time_out_of_range": Advice("a year outside of 1 to 9999", "mend the cell"),
    "not_json_value": Advice("not JSON", "mend the cell, or leave type: json out"),
    "not_in_map": Advice("a value that the map does not have", "add it to map, or give otherwise:"),
    "missing": Advice("a required value is missing", "fill the cell, or give default:"),
    "missing_time": Advice("no eventTimestamp", "fill the cell: without it the API would stamp the event with today"),
    "missing_id": Advice("no uniqueId", "fill the cells that make it, or make it from other columns"),
    "missing_name": Advice("no eventName", "fill the cell, or use a constant"),
    "missing_group": Advice("no value in a group_by column", "fill the cell"),
    "invalid_email": Advice("not an email address", "mend the cell"),
    "invalid_phone": Advice("not a phone number", "mend the cell; for numbers without +country declare region:"),
    "invalid_currency": Advice("not an ISO 4217 currency", "mend the cell, or use map: {Dollar: USD}"),
    "invalid_country": Advice("not an ISO 3166-1 alpha-2 country", "mend the cell, or use map: {Germany: DE}"),
    "invalid_time_zone": Advice("not an IANA time zone", "mend the cell, or use map: {EST: America/New_York}"),
    "no_identifier": Advice("no id, email or phone that is valid", "fill one of them: the API needs a customer"),
    "sql_failed": Advice(
        "SQL that fails for the row", "mend the cell, or use TRY_CAST, which gives null where CAST fails"
    ),
    # limits
    "id_too_long": Advice("a uniqueId over 255 characters", "use uniqueId: {hash: [columns]}"),
    "text_too_long": Advice("a text over 100 KB", "shorten it in the export, or leave it out of the mapping"),
    "event_too_large": Advice("an event over 5 MB", "leave columns out of the mapping"),
    "too_many_properties": Advice("over 400 properties in data", "put some under data.$extra"),
    # over the whole export
    "id_conflict": Advice("the id of another row, with other content", "use a uniqueId that tells the rows apart"),
    "group_apart": Advice(
        "rows of one group that stand apart",
        "sort the export, or use group_by: {columns: [...], adjacent: false}",
    ),
    "group_incomplete": Advice(
        "a row of this group can't be read", "mend that row in the export: the group is sent when it is whole"
    ),
    # notices: sent all the same
    "unset": Advice('0 or "" in data, which the API does not store', "put it under data.$extra, or send a text"),
    "value_without_currency": Advice("a value without a currency", "map valueCurrency, a constant such as USD will do"),
    "similar_names": Advice("event names that differ only in case or spacing", "make them one with map:"),
    "many_names": Advice("very many event names; each becomes a permanent type", "use a constant eventName"),
    "twins_differ": Advice("rows alike in the hashed columns, other content", 'hash more columns, or "*"'),
}


def advice(code: str) -> Advice:
    """The advice for a code; one without words of its own stands for itself."""
    return PROBLEMS.get(code, Advice(code, ""))
