"""Metadata queries in the manner of MongoDB, over columns instead of documents.

`MetadataIndex` holds the metadata of many keys and answers filters; `matches` asks one filter of one
metadata dictionary. The language and where it differs from MongoDB is told in `filters`.
"""

from __future__ import annotations

from .filters import Filter, parse_filter
from .index import MetadataIndex
from .matching import matches

__all__ = ["Filter", "MetadataIndex", "matches", "parse_filter"]
