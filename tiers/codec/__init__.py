"""Values to bytes and back: arrays, tensors, tables, frames, scalars and nests of these without pickle.

`encode` takes a value apart into a header of a few hundred bytes and the value's own memory; `decode`
puts it together again, as views of the buffers where the type allows. `select_rows` and
`select_indices` say, from a header alone, which bytes make up some of the rows.
"""

from __future__ import annotations

from .coding import decode, encode
from .rows import rows_of
from .selecting import select_indices, select_rows

__all__ = ["decode", "encode", "rows_of", "select_indices", "select_rows"]
