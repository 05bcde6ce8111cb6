"""Small surveys and summaries, made without an export."""

from __future__ import annotations

from typing import Any


def summary(**parts: Any) -> dict[str, Any]:
    """A summary of one accepted event; `events` and `rows` are changed by name."""
    events = dict.fromkeys(
        ("total", "invalid", "duplicate", "already_delivered", "changed", "accepted", "refused", "pending"), 0
    ) | {"total": 1, "accepted": 1}
    rows = {"read": 1, "unreadable": 0, "filtered": 0, "mapped": 1}
    plain = {
        "mapping": "orders.yaml",
        "store": "s",
        "base_url": "https://api.example.com",
        "endpoint": "bulk",
        "requests": 1,
        "retries": 0,
        "rate_limited": 0,
        "statuses": {"202": 1},
        "started": "2024-01-01T00:00:00Z",
        "finished": "2024-01-01T00:00:01Z",
        "exit": 0,
        "stopped_by": None,
        "by_event_name": {"Order Placed": {"ready": 1, "accepted": 1}},
        "problems": {},
        "notices": [],
        "files": [{"name": "orders.csv", "format": "csv", "read_as": "utf-8", "unchanged": False}],
        "unread": [],
        "held": 0,
        "kept_back": 0,
        "mended": 0,
        "not_newer_than": None,
        "limit": None,
        "limit_each": None,
        "sends": {"Order Placed": {"events": 1, "under_72_hours": 0}},
        "canaries": {},
        "new_names": [],
        "notes": [],
        "warnings": [],
    }
    return plain | parts | {"events": events | parts.get("events", {}), "rows": rows | parts.get("rows", {})}
