"""backfill: bring a store's history into Redo, once and only once."""

__version__ = "0.1.0"
