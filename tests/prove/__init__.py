"""The proof for a cluster: many stores, machines killed at random, and what arrived looked at event by event."""
