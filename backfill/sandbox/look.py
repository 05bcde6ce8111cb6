"""What the page shows, as plain data: questions to the index, and the events themselves from the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backfill.sandbox.index import Index, Worth
from backfill.sandbox.kept import Stored
from backfill.sandbox.store import Store

PAGE = 50
# A profile is merged from so many of a customer's newest events; more of them would hold the store up.
_MAX_MERGED = 2000
_MAX_NAMES = 200
_KINDS = ("stored", "duplicate", "differs")

Shown = dict[str, Any]


class NotThereError(LookupError):
    """There is no such customer or event, or not yet."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Of which store and of which event name; None for all."""

    store: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Look:
    """Looks into the store by way of the index."""

    store: Store
    index: Index

    def overview(self, only: Filter) -> Shown:
        """Counts, event names, and events by name over their own time."""
        store, name = self._numbers(only)
        index = self.index
        kinds = dict.fromkeys(_KINDS, 0)
        # The names of all are listed, whichever is chosen.
        by_name: dict[int, int] = {}
        for found, kind, n in index.ask(
            "SELECT name, kind, sum(n) FROM totals WHERE ?1 IS NULL OR store = ?1 GROUP BY 1, 2", store
        ):
            if kind == 0:
                by_name[found] = n
            if name in {None, found}:
                kinds[_KINDS[kind]] += n
        words = _reverse(index.names)
        customers = index.customers.total() if store is None else index.customers[store]
        most = sorted(by_name, key=lambda number: (-by_name[number], number))[:_MAX_NAMES]
        return {
            "indexed": index.seq,
            "newest": self.store.newest_seq(),
            "stored": kinds["stored"],
            "duplicates": kinds["duplicate"] + kinds["differs"],
            "differing": kinds["differs"],
            "unset": sum(n for _, n, _ in self._unset(store, name)),
            "customers": customers,
            "stores": list(index.stores),
            "names": [{"name": words[number], "events": by_name[number]} for number in most],
            "worth": self._worth(store, name),
            "chart": self._chart(store, name),
        }

    def events(self, only: Filter, *, before: int | None, dropped: bool, differing: bool = False) -> Shown:
        """A page of events, the newest arrival first; `dropped`: the duplicates, `differing` with other content."""
        store, name = self._numbers(only)
        if -1 in {store, name}:
            return {"events": [], "before": None}
        table = "first FROM dropped" if dropped else "NULL FROM seen"
        rows = self.index.ask(
            f"SELECT seq, who, {table} WHERE seq < ?3 AND (?1 IS NULL OR store = ?1)"
            f" {'' if name is None else 'AND name = ?2'} {'AND differs' if differing else ''}"
            " ORDER BY seq DESC LIMIT ?4",
            *(store, name, before or 2**62, PAGE + 1),
        )
        labels = self._labels(row[1] for row in rows)
        beside = {seq: {"who": who, "customer": labels.get(who), "first": first} for seq, who, first in rows[:PAGE]}
        events = [_brief(event) | beside[event.seq] for event in self.store.some(list(beside))]
        return {"events": events, "before": rows[PAGE - 1][0] if len(rows) > PAGE else None}

    def customers(self, only: Filter, words: str, page: int) -> Shown:
        """A page of customers, the one of the newest event first, of those in whom each word is found."""
        store, _ = self._numbers(only)
        wanted = _search_words(words)
        where = "(?1 IS NULL OR store = ?1)" + "".join(
            f" AND instr(words, ?{number})" for number in range(2, len(wanted) + 2)
        )
        order = "newest DESC, who"
        if wanted:
            # With a plus the few that are found are sorted; without it, all would be looked at in that order.
            order = f"+{order}"
            ((total,),) = self.index.ask(f"SELECT count(*) FROM customer WHERE {where}", store, *wanted)  # noqa: S608
        else:
            total = self.index.customers.total() if store is None else self.index.customers[store]
        rows = total and self.index.ask(
            "SELECT who, store, id, email, phone, first, last, events, newest FROM customer"  # noqa: S608 - constants
            f" WHERE {where} ORDER BY {order} LIMIT {PAGE} OFFSET {(page - 1) * PAGE}",
            *(store, *wanted),
        )
        return {
            "customers": [self._customer(row) for row in rows or ()],
            "total": total,
            "page": page,
            "pages": -(-total // PAGE),
        }

    def customer(self, who: int, before: tuple[int, int] | None) -> Shown:
        """A customer: the profile, and a page of the events, the newest first by their own time."""
        rows = self.index.ask(
            "SELECT who, store, id, email, phone, first, last, events, newest FROM customer WHERE who = ?", who
        )
        if not rows:
            raise NotThereError(f"no customer {who}")
        seen = self.index.ask(
            "SELECT seq, ms FROM seen WHERE who = ?1 AND (ms, seq) < (?2, ?3) ORDER BY ms DESC, seq DESC LIMIT ?4",
            *(who, *(before or (2**62, 0)), PAGE + 1),
        )
        shown: Shown = {
            "events": [_whole(event) for event in self.store.some([seq for seq, _ in seen[:PAGE]])],
            "before": f"{seen[PAGE - 1][1]},{seen[PAGE - 1][0]}" if len(seen) > PAGE else None,
        }
        if before is None:
            ((dropped,),) = self.index.ask("SELECT count(*) FROM dropped WHERE who = ?", who)
            newest = self.index.ask(
                f"SELECT seq FROM seen WHERE who = ? ORDER BY seq DESC LIMIT {_MAX_MERGED}",  # noqa: S608
                who,
            )
            profile = merged(self.store.customer_parts([seq for (seq,) in newest]))
            shown |= {"customer": self._customer(rows[0]), "profile": profile, "dropped": dropped}
        return shown

    def event(self, seq: int) -> Shown:
        """An event as it came, what came with it, and what was dropped for it or what it was dropped for."""
        found = self.store.some([seq])
        if not found:
            raise NotThereError(f"no event {seq}")
        rows = self.index.ask(
            "SELECT who, NULL FROM seen WHERE seq = ?1 UNION ALL SELECT who, first FROM dropped WHERE seq = ?1", seq
        )
        who, first = rows[0] if rows else (None, None)
        first_one = self.store.some([first]) if first else []
        later = self.index.ask("SELECT seq, at, differs FROM dropped WHERE first = ? ORDER BY seq LIMIT 100", seq)
        begin, end = self.store.request_of(seq)
        return _whole(found[0]) | {
            "who": who,
            "customer": self._labels([who]).get(who),
            "request": {"first": begin, "events": end - begin + 1},
            "original": _whole(first_one[0]) if first_one else None,
            "later": [{"seq": seq, "at": at, "differs": bool(differs)} for seq, at, differs in later],
        }

    def unset(self, only: Filter) -> Shown:
        """The values of `data` that count as unset, by event name, key and value."""
        names = _reverse(self.index.names)
        found = sorted(self._unset(*self._numbers(only)), key=lambda row: -row[1])
        return {
            "unset": [
                {"name": names[name], "key": key, "value": value, "events": n, "example": example}
                for (_, name, key, value), n, example in found
            ]
        }

    def refused(self, only: Filter) -> list[Shown]:
        """The examples of what was refused, the newest first."""
        return [
            {
                "number": kept.number,
                "at": kept.at,
                "store": kept.store,
                "name": kept.refusal.name,
                "bulk": kept.refusal.bulk,
                "reasons": kept.refusal.reasons,
                "body": kept.refusal.body,
            }
            for kept in reversed(self.store.refused())
            if only.store in {None, kept.store} and only.name in {None, kept.refusal.name}
        ]

    def _worth(self, store: int | None, name: int | None) -> list[Shown]:
        """The sums of `value`, by event name and currency; of stores together where none is chosen."""
        found: dict[tuple[int, str], Worth] = {}
        for (of_store, number, currency), worth in list(self.index.worth.items()):
            if store in {None, of_store} and name in {None, number}:
                found.setdefault((number, currency), Worth()).add(worth)
        words = _reverse(self.index.names) | {0: "other events"}
        order = sorted(found.items(), key=lambda item: (-item[1].events, item[0]))[:_MAX_NAMES]
        return [
            {"name": words[number], "currency": currency or None, "sum": str(worth), "events": worth.events}
            for (number, currency), worth in order
        ]

    def _chart(self, store: int | None, name: int | None) -> Shown:
        where = "(?1 IS NULL OR store = ?1) AND (?2 IS NULL OR name = ?2)"
        ((first, last),) = self.index.ask(f"SELECT min(day), max(day) FROM days WHERE {where}", store, name)  # noqa: S608
        if first is None:
            return {"unit": "day", "bars": []}
        unit, start = _bucket(last - first)
        names = _reverse(self.index.names)
        bars = self.index.ask(
            f"SELECT {start}, name, sum(n) FROM days WHERE {where} GROUP BY 1, 2 ORDER BY 1",  # noqa: S608 - constants
            *(store, name),
        )
        return {"unit": unit, "bars": [[day, names[number], n] for day, number, n in bars]}

    def _numbers(self, only: Filter) -> tuple[int | None, int | None]:
        """The numbers by which the index knows them; one that nothing has when it doesn't."""
        store = None if only.store is None else self.index.stores.get(only.store, -1)
        return store, None if only.name is None else self.index.names.get(only.name, -1)

    def _unset(self, store: int | None, name: int | None) -> list[tuple[tuple[int, int, str, str], int, int]]:
        counted = list(self.index.unset.items())
        return [(key, n, seq) for key, (n, seq) in counted if store in {None, key[0]} and name in {None, key[1]}]

    def _customer(self, row: Sequence[Any]) -> Shown:
        who, store, known, email, phone, first, last, events, newest = row
        return {
            "who": who,
            "store": _reverse(self.index.stores)[store],
            "id": known,
            "email": email,
            "phone": phone,
            "first": first,
            "last": last,
            "events": events,
            "newest": newest,
        }

    def _labels(self, whos: Iterable[int | None]) -> dict[int | None, str]:
        wanted = ",".join(str(int(who)) for who in {*whos} if who is not None)
        rows = self.index.ask(f"SELECT who, email, phone, id, first, last FROM customer WHERE who IN ({wanted})")  # noqa: S608
        return {
            who: " ".join(part for part in (first, last) if part) or email or phone or known or ""
            for who, email, phone, known, first, last in rows
        }


def merged(parts: Iterable[Shown]) -> Shown:
    """`customer` of several events as one, each a patch of those before: what it omits stays."""
    profile: Shown = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, dict):
                profile[key] = {**profile.get(key, {}), **value}
            else:
                profile[key] = value
    return profile


def _bucket(days: int) -> tuple[str, str]:
    """The unit of a chart over so many days, and the start of a day's bucket, in SQL."""
    if days <= 92:
        return "day", "date(day * 86400, 'unixepoch')"
    if days <= 7 * 92:
        return "week", "date((day - ((day + 3) % 7 + 7) % 7) * 86400, 'unixepoch')"  # Monday
    if days <= 31 * 12 * 15:
        return "month", "date(day * 86400, 'unixepoch', 'start of month')"
    return "year", "date(day * 86400, 'unixepoch', 'start of year')"


def _brief(event: Stored) -> Shown:
    return {
        "seq": event.seq,
        "at": event.at,
        "store": event.store,
        "name": event.name,
        "uniqueId": event.unique_id,
        "timestamp": event.timestamp,
        "value": event.event.get("value"),
        "currency": event.event.get("valueCurrency"),
        "bulk": event.bulk,
        "kind": "differs" if event.differs else "duplicate" if event.duplicate else "stored",
    }


def _whole(event: Stored) -> Shown:
    came = dict(event.event)
    if event.dropped:
        came["data"] = dict(sorted({**came["data"], **event.dropped}.items()))
    return _brief(event) | {"event": came, "unset": list(event.dropped)}


def _search_words(text: str) -> list[str]:
    """What to look for: words, or a phone number as its digits."""
    digits = "".join(filter(str.isdigit, text))
    if len(digits) >= 3 and not set(text) - set("+-()./ 0123456789"):
        return [digits]
    return text.casefold().split()[:8]


def _reverse(numbers: dict[str, int]) -> dict[int, str]:
    return {number: text for text, number in numbers.copy().items()}
