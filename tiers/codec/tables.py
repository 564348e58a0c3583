"""Arrow: tables, record batches, chunked arrays, arrays and schemas, buffer by buffer.

A table is not serialised, which would copy it: its schema goes into the header, and the buffers of its
columns are stored as they are, slices trimmed. Columns of unions, views and run-end encoding are left to
pickle. What is read is validated in full, because Arrow trusts its buffers and would read past them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import types as kinds

from ...errors import CorruptData
from .header import Reference, Tree

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


class _OnlyByPickle(Exception):
    """A column of a type that has no tree."""


def encode_node(writer: Writer, value: Any) -> Tree:
    """["arrow", kind, schema, rows, columns], where a column is a list of chunks."""
    kind = type(value)
    mark = len(writer.buffers)
    try:
        with writer.inside(value):
            if kind is pa.Schema:
                return ["arrow", "schema", _schema_bytes(value), 0, []]
            if kind is pa.Table:
                columns = [[_encode(writer, chunk) for chunk in column.chunks] for column in value.columns]
                return ["arrow", "table", _schema_bytes(value.schema), value.num_rows, columns]
            if kind is pa.RecordBatch:
                columns = [[_encode(writer, column)] for column in value.columns]
                return ["arrow", "batch", _schema_bytes(value.schema), value.num_rows, columns]
            if kind is pa.ChunkedArray:
                chunks = [_encode(writer, chunk) for chunk in value.chunks]
                return ["arrow", "chunked", _type_bytes(value.type), len(value), [chunks]]
            if isinstance(value, pa.Array):
                return ["arrow", "array", _type_bytes(value.type), len(value), [[_encode(writer, value)]]]
    except _OnlyByPickle:
        del writer.buffers[mark:]  # those of the columns before
    return NotImplemented


def _schema_bytes(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())


def _type_bytes(kind: pa.DataType) -> bytes:
    return _schema_bytes(pa.schema([pa.field("", kind)]))


def _encode(writer: Writer, array: pa.Array) -> Tree:
    """[length, offset, validity, own buffers, children]: the same shape for every type."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return [len(array), 0, None, [], [_encode(writer, array.storage)]]
    if kinds.is_dictionary(kind):
        return [
            len(array),
            0,
            None,
            [],
            [_encode(writer, array.indices), _encode(writer, array.dictionary)],
        ]
    if kinds.is_null(kind):
        return [len(array), 0, None, [], []]
    if not (is_fixed(kind) or _offset_bytes(kind) or kinds.is_struct(kind) or kinds.is_fixed_size_list(kind)):
        raise _OnlyByPickle
    if array.offset and kind.num_fields:
        # The children of a slice are those of the whole: copy the slice, which is the smaller part.
        array = pa.concat_arrays([array, array.slice(0, 0)])
        if array.offset:
            raise _OnlyByPickle
    # Up to 7 rows before the first are kept, so that bitmaps need not be shifted.
    skip = array.offset % 8
    first, last = array.offset - skip, array.offset + len(array)
    buffers = array.buffers()
    validity = None
    if array.null_count and buffers[0] is not None:
        validity = writer.reference(memoryview(buffers[0])[first // 8 : (last + 7) // 8])
    own, children = [], []
    if is_fixed(kind):
        begin, end = first * kind.bit_width // 8, (last * kind.bit_width + 7) // 8
        own.append(writer.reference(_bytes_of(buffers[1])[begin:end]))
    elif width := _offset_bytes(kind):
        offsets = _bytes_of(buffers[1])[first * width : (last + 1) * width] if len(array) else memoryview(b"")
        own.append(writer.reference(offsets))
        if kind.num_fields:
            children = [_encode(writer, _entries(array) if kinds.is_map(kind) else array.values)]
        else:
            stop = int.from_bytes(offsets[-width:], "little", signed=True) if len(array) else 0
            own.append(writer.reference(_bytes_of(buffers[2])[:stop]))
    elif kinds.is_struct(kind):
        children = [_encode(writer, array.field(index)) for index in range(kind.num_fields)]
    else:
        children = [_encode(writer, array.values)]
    return [len(array), skip, validity, own, children]


def _entries(array: pa.MapArray) -> pa.StructArray:
    kind = array.type
    return pa.StructArray.from_arrays([array.keys, array.items], fields=[kind.key_field, kind.item_field])


def _bytes_of(buffer: pa.Buffer | None) -> memoryview:
    return memoryview(b"") if buffer is None else memoryview(buffer)


def is_fixed(kind: pa.DataType) -> bool:
    """Whether all values take the same number of bits, in one buffer."""
    return bool(
        kinds.is_primitive(kind)
        or kinds.is_boolean(kind)
        or kinds.is_decimal(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def _offset_bytes(kind: pa.DataType) -> int:
    """Bytes of an offset, 0 for types without offsets."""
    if kinds.is_string(kind) or kinds.is_binary(kind) or kinds.is_list(kind) or kinds.is_map(kind):
        return 4
    if kinds.is_large_string(kind) or kinds.is_large_binary(kind) or kinds.is_large_list(kind):
        return 8
    return 0


def decode_arrow(reader: Reader, kind: str, schema_bytes: bytes, rows: int, columns: list[Tree]) -> Any:
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    if kind == "schema":
        return schema
    if len(columns) != len(schema):
        raise CorruptData(f"{len(columns)} columns for a schema of {len(schema)}")
    chunks = [
        [_decode(reader, field.type, chunk) for chunk in column]
        for field, column in zip(schema, columns, strict=True)
    ]
    for column in chunks:
        for chunk in column:
            chunk.validate(full=True)
    if any(sum(map(len, column)) != rows for column in chunks):
        raise CorruptData(f"columns that do not have {rows!r:.20} rows each")
    if kind == "table":
        arrays = [
            pa.chunked_array(column, type=field.type) for field, column in zip(schema, chunks, strict=True)
        ]
        if not arrays and rows:
            return pa.table({"": _nulls(rows)}).select([]).replace_schema_metadata(schema.metadata)
        return pa.Table.from_arrays(arrays, schema=schema)
    if kind == "batch":
        if any(len(column) != 1 for column in chunks):
            raise CorruptData("a record batch with a column in several chunks")
        return pa.RecordBatch.from_arrays([column[0] for column in chunks], schema=schema)
    (column,) = chunks
    if kind == "chunked":
        return pa.chunked_array(column, type=schema.field(0).type)
    if kind == "array" and len(column) == 1:
        return column[0]
    raise CorruptData(f"unknown kind of Arrow value {kind!r:.40}")


def _decode(reader: Reader, kind: pa.DataType, tree: Tree) -> pa.Array:
    length, skip, validity, own, children = tree
    if type(length) is not int or length < 0 or type(skip) is not int or not 0 <= skip < 8:
        raise CorruptData(f"Arrow array of length {length!r:.20} and offset {skip!r:.20}")
    if isinstance(kind, pa.BaseExtensionType):
        (storage,) = children
        return pa.ExtensionArray.from_storage(kind, _decode(reader, kind.storage_type, storage))
    if kinds.is_dictionary(kind):
        indices, dictionary = children
        return pa.DictionaryArray.from_arrays(
            _valid(_decode(reader, kind.index_type, indices)),
            _valid(_decode(reader, kind.value_type, dictionary)),
            ordered=kind.ordered,
        )
    if kinds.is_null(kind):
        return _nulls(length)
    buffers: list[pa.Buffer | None] = [None]
    if validity is not None:
        buffers[0] = _buffer(reader, validity, (skip + length + 7) // 8)
    child_arrays: list[pa.Array] = []
    if is_fixed(kind):
        (content,) = own
        buffers.append(_buffer(reader, content, ((skip + length) * kind.bit_width + 7) // 8))
    elif width := _offset_bytes(kind):
        offsets, *content = own
        buffers.append(_buffer(reader, offsets, (skip + length + 1) * width if length else 0))
        if kind.num_fields:
            (child,) = children
            entries = pa.struct([kind.key_field, kind.item_field]) if kinds.is_map(kind) else kind.value_type
            child_arrays = [_decode(reader, entries, child)]
        else:
            (text,) = content
            buffers.append(_buffer(reader, text, 0))
    elif kinds.is_struct(kind):
        fields = [kind.field(index).type for index in range(kind.num_fields)]
        child_arrays = [_decode(reader, field, child) for field, child in zip(fields, children, strict=True)]
    elif kinds.is_fixed_size_list(kind):
        (child,) = children
        child_arrays = [_decode(reader, kind.value_type, child)]
    else:
        raise CorruptData(f"no Arrow array of type {kind} is ever stored")
    return pa.Array.from_buffers(
        kind, length, buffers, 0 if validity is None else -1, skip, child_arrays or None
    )


def _nulls(length: int) -> pa.Array:
    """Nulls without memory: pa.nulls would allocate whatever length a hostile header states."""
    return pa.Array.from_buffers(pa.null(), length, [None])


def _valid(array: pa.Array) -> pa.Array:
    """For arrays that are computed with before the whole is validated."""
    array.validate(full=True)
    return array


def _buffer(reader: Reader, reference: Reference, least_bytes: int) -> pa.Buffer:
    view = reader.buffer(reference)
    if view.nbytes < least_bytes:
        raise CorruptData(f"an Arrow buffer of {view.nbytes} bytes where {least_bytes} are needed")
    return pa.py_buffer(view)


DECODERS: dict[str, Callable[..., Any]] = {"arrow": decode_arrow}
