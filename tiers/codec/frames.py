"""pandas: frames, series and indexes, column by column.

A column is its array: NumPy, Arrow, masked (`Int64`), categorical, or datetimes with a zone. Columns of
Python objects are stored as lists, so that text needs no pickle. Period, interval, sparse and foreign
extension arrays, and subclasses of the frames, are left to pickle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...errors import CorruptData
from .header import Tree
from .pickling import encode_pickle

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer

_MASKED = ("IntegerArray", "FloatingArray", "BooleanArray")

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""What a column of objects may hold without being pickled."""


def encode_node(writer: Writer, value: Any) -> Tree:
    """The tree of a frame, series or index; NotImplemented where only pickle can carry the outside."""
    kind = type(value)
    if kind is pd.DataFrame:
        with writer.inside(value):
            columns = [_encode_array(writer, value.iloc[:, at].array) for at in range(value.shape[1])]
            labels, index = _encode_index(writer, value.columns), _encode_index(writer, value.index)
            return ["frame", _about(writer, value), labels, index, columns]
    if kind is pd.Series:
        with writer.inside(value):
            index, name = _encode_index(writer, value.index), writer.node(value.name)
            return ["series", _about(writer, value), name, index, _encode_array(writer, value.array)]
    if isinstance(value, pd.Index):
        with writer.inside(value):
            return ["index", _encode_index(writer, value)]
    return NotImplemented


def _about(writer: Writer, value: Any) -> Tree:
    return [writer.node(dict(value.attrs)), value.flags.allows_duplicate_labels]


def _encode_index(writer: Writer, index: pd.Index) -> Tree:
    kind = type(index)
    if kind is pd.RangeIndex:
        return ["range", writer.node(index.name), index.start, index.stop, index.step]
    if kind is pd.MultiIndex:
        levels = [_encode_index(writer, level) for level in index.levels]
        codes = [writer.node(np.asarray(code)) for code in index.codes]
        return ["multi", writer.node(list(index.names)), levels, codes]
    if kind is pd.DatetimeIndex or kind is pd.TimedeltaIndex:
        tag = "datetimes" if kind is pd.DatetimeIndex else "timedeltas"
        frequency = None if index.freq is None else index.freqstr
        return [tag, writer.node(index.name), _encode_array(writer, index.array), frequency]
    if kind is pd.CategoricalIndex or kind is pd.Index:
        return ["plain", writer.node(index.name), _encode_array(writer, index.array)]
    return ["other", encode_pickle(writer, index)]


def _encode_array(writer: Writer, array: Any) -> Tree:
    kind = type(array).__name__
    if isinstance(array, pd.arrays.StringArray) or isinstance(array.dtype, pd.StringDtype):
        missing = "NA" if array.dtype.na_value is pd.NA else "nan"
        if array.dtype.storage == "pyarrow":
            return ["strings", missing, writer.node(array.__arrow_array__())]
        items = [item if isinstance(item, str) else None for item in array.to_numpy(dtype=object).tolist()]
        return ["texts", missing, writer.node(items)]
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        values = array.to_numpy()
        if not values.dtype.hasobject:
            return ["numpy", writer.node(values)]
        items = values.tolist()
        if set(map(type, items)) <= _PLAIN:
            return ["objects", writer.node(items)]
    elif isinstance(array, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray):
        zone = getattr(array.dtype, "tz", None)
        if zone is None or _zoned(array.dtype.unit, str(zone)) == array.dtype:
            letter = "M" if isinstance(array, pd.arrays.DatetimeArray) else "m"
            dtype = f"{letter}8[{array.unit}]"
            return ["times", dtype, None if zone is None else str(zone), writer.node(array.view("i8"))]
    elif isinstance(array, pd.Categorical):
        categories = _encode_index(writer, array.categories)
        return ["categories", bool(array.ordered), categories, writer.node(array.codes)]
    elif kind in _MASKED:
        return ["masked", kind, writer.node(array._data), writer.node(array._mask)]
    elif isinstance(array, pd.arrays.ArrowExtensionArray):
        return ["arrow", writer.node(array.__arrow_array__())]
    return ["other", encode_pickle(writer, array)]


def _zoned(unit: str, zone: str) -> Any:
    try:
        return pd.DatetimeTZDtype(unit, zone)
    except (TypeError, ValueError, KeyError):  # a zone object whose text is not its name
        return None


def decode_frame(reader: Reader, about: Tree, labels: Tree, index: Tree, columns: list[Tree]) -> pd.DataFrame:
    arrays = {at: _decode_array(reader, column) for at, column in enumerate(columns)}
    frame = pd.DataFrame(arrays, index=_decode_index(reader, index), copy=False)
    frame.columns = _decode_index(reader, labels)
    return _with_about(reader, frame, about)


def decode_series(reader: Reader, about: Tree, name: Tree, index: Tree, column: Tree) -> pd.Series:
    array = _decode_array(reader, column)
    series = pd.Series(array, index=_decode_index(reader, index), name=reader.value(name), copy=False)
    return _with_about(reader, series, about)


def _with_about(reader: Reader, value: Any, about: Tree) -> Any:
    attributes, allows_duplicates = about
    value.attrs = reader.value(attributes)
    return value if allows_duplicates else value.set_flags(allows_duplicate_labels=False)


def _decode_index(reader: Reader, tree: Tree) -> pd.Index:
    tag, *rest = tree
    if tag == "range":
        name, start, stop, step = rest
        return pd.RangeIndex(start, stop, step, name=reader.value(name))
    if tag == "multi":
        names, levels, codes = rest
        return pd.MultiIndex(
            [_decode_index(reader, level) for level in levels],
            [reader.value(code) for code in codes],
            names=reader.value(names),
        )
    if tag == "datetimes" or tag == "timedeltas":
        name, column, frequency = rest
        maker = pd.DatetimeIndex if tag == "datetimes" else pd.TimedeltaIndex
        return maker(_decode_array(reader, column), freq=frequency, name=reader.value(name))
    if tag == "plain":
        name, column = rest
        array = _decode_array(reader, column)
        # Without the dtype pandas would infer strings or dates from a column of objects.
        return pd.Index(array, dtype=array.dtype, name=reader.value(name), copy=False)
    if tag == "other":
        return _unpickled(reader, rest[0], pd.Index)
    raise CorruptData(f"unknown kind of index {tag!r:.40}")


def _decode_array(reader: Reader, tree: Tree) -> Any:
    tag, *rest = tree
    if tag == "numpy":
        return _expect(reader.value(rest[0]), np.ndarray)
    if tag == "objects" or tag == "texts":
        items = _expect(reader.value(rest[-1]), (list, tuple))
        values = np.empty(len(items), dtype=object)
        values[:] = items
        return values if tag == "objects" else pd.array(values, dtype=_string_dtype("python", rest[0]))
    if tag == "times":
        dtype, zone, values = rest
        times = _expect(reader.value(values), np.ndarray).view(dtype)
        array = pd.array(times, copy=False)
        return array if zone is None else pd.DatetimeIndex(array).tz_localize("UTC").tz_convert(zone).array
    if tag == "categories":
        ordered, categories, codes = rest
        kind = pd.CategoricalDtype(_decode_index(reader, categories), ordered=bool(ordered))
        return pd.Categorical.from_codes(_expect(reader.value(codes), np.ndarray), dtype=kind)
    if tag == "masked":
        kind, values, mask = rest
        if kind not in _MASKED:
            raise CorruptData(f"unknown masked array {kind!r:.40}")
        return getattr(pd.arrays, kind)(reader.value(values), reader.value(mask))
    if tag == "strings":
        return _string_dtype("pyarrow", rest[0]).__from_arrow__(reader.value(rest[1]))
    if tag == "arrow":
        return pd.arrays.ArrowExtensionArray(reader.value(rest[0]))
    if tag == "other":
        return _unpickled(reader, rest[0], pd.api.extensions.ExtensionArray)
    raise CorruptData(f"unknown kind of column {tag!r:.40}")


def _string_dtype(storage: str, missing: str) -> Any:
    return pd.StringDtype(storage, na_value={"NA": pd.NA, "nan": np.nan}[missing])


def _unpickled(reader: Reader, tree: Tree, kind: type) -> Any:
    return _expect(reader.value(tree), kind)


def _expect(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind):
        raise CorruptData(f"codec tree holds a {type(value).__name__} where {kind} should be")
    return value


DECODERS: dict[str, Callable[..., Any]] = {
    "frame": decode_frame,
    "series": decode_series,
    "index": lambda reader, tree: _decode_index(reader, tree),
}
