"""Compression by name: zstd, lz4 and snappy through Arrow's codecs, none, and the user's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import CorruptData, InvalidType, InvalidValue

NONE = "none"
_ARROW_NAMES = {"zstd": "zstd", "lz4": "lz4_raw", "snappy": "snappy"}
_custom: dict[str, Compression] = {}
_registering = threading.Lock()

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Compression:
    """A way to make bytes fewer. Thread-safe as long as its two functions are."""

    name: str
    _compress: Callable[..., Any]
    _decompress: Callable[..., Any]

    def compress(self, content: Buffer, level: int | None = None) -> memoryview:
        """The compressed bytes; `level` is the codec's own scale, None its default."""
        packed = self._compress(content) if level is None else self._compress(content, level)
        return memoryview(packed).cast("B")

    def decompress(self, packed: Buffer, nbytes: int) -> memoryview:
        """The bytes that were compressed, of which there were `nbytes`. Raises `CorruptData`."""
        try:
            content = memoryview(self._decompress(packed, nbytes)).cast("B")
        except MemoryError:
            raise
        except Exception as error:  # a codec, perhaps the user's, may raise anything on damaged input
            raise CorruptData(f"{self.name} cannot decompress {len(packed)} bytes: {error}") from error
        if content.nbytes != nbytes:
            raise CorruptData(f"{self.name} gave {content.nbytes} bytes where {nbytes} were compressed")
        return content


def compression(name: str) -> Compression:
    """The compression of a name. Raises `InvalidValue` for one that nobody registered."""
    if name == NONE:
        return Compression(NONE, lambda content, _level=None: content, lambda packed, _nbytes: packed)
    if name in _ARROW_NAMES:
        return _arrow_compression(name)
    found = _custom.get(name)
    if found is None:
        known = ", ".join([NONE, *_ARROW_NAMES, *_custom])
        raise InvalidValue(f"unknown compression {name!r}: use one of {known}, or register_compression first")
    return found


def register_compression(name: str, compress: Callable[..., Any], decompress: Callable[[Any], Any]) -> None:
    """Make a compression known by name, in this process: ``register_compression("zlib", zlib.compress,
    zlib.decompress)``.

    `compress` takes the bytes (any buffer), and the level too where one is asked for; `decompress` takes
    what `compress` returned. Whoever reads the data later must register the same name first. Raises
    `InvalidValue` for the name of a built-in one.
    """
    if not isinstance(name, str) or not name:
        raise InvalidType(f"the name of a compression is a text that is not empty, not {name!r}")
    if name == NONE or name in _ARROW_NAMES:
        raise InvalidValue(f"{name!r} is built in and cannot be replaced: choose another name")
    if not callable(compress) or not callable(decompress):
        raise InvalidType("compress and decompress must be functions")
    with _registering:
        _custom[name] = Compression(name, compress, lambda packed, _nbytes: decompress(packed))


def check_level(name: str, level: int | None) -> None:
    """Raise `InvalidValue` for a level that the compression does not have."""
    found = compression(name)
    if level is None:
        return
    if type(level) is not int:
        raise InvalidType(f"a compression level is an int, not {level!r}")
    if name == NONE or name in _ARROW_NAMES:
        import pyarrow as pa

        codec = _ARROW_NAMES.get(name)
        if codec is None or not pa.Codec.supports_compression_level(codec):
            raise InvalidValue(f"{name} has no levels: leave the level out")
        low, high = pa.Codec.minimum_compression_level(codec), pa.Codec.maximum_compression_level(codec)
        if not low <= level <= high:
            raise InvalidValue(f"{name} has levels from {low} to {high}, not {level}")
    else:
        found.compress(b"", level)


def _arrow_compression(name: str) -> Compression:
    import pyarrow as pa

    codec_name = _ARROW_NAMES[name]

    def compress(content: Buffer, level: int | None = None) -> Any:
        return pa.Codec(codec_name, compression_level=level).compress(pa.py_buffer(content))

    def decompress(packed: Buffer, nbytes: int) -> Any:
        return pa.Codec(codec_name).decompress(pa.py_buffer(packed), decompressed_size=nbytes)

    return Compression(name, compress, decompress)
