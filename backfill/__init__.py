"""backfill: bring a store's history into Redo, once and only once."""

from __future__ import annotations

__version__ = "0.2.0.dev0"
