"""Requests → outcomes: one request's whole life, from its turn to the API's word on each of its events."""

from __future__ import annotations

from backfill.send.sender import Sender
from backfill.send.target import Target, check_base_url
from backfill.send.watch import Latency, Snapshot

__all__ = ["Latency", "Sender", "Snapshot", "Target", "check_base_url"]
