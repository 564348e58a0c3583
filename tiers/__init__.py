"""Tiered storage in plain Python: codecs, tiers, catalog, policies, queries, snapshots."""
