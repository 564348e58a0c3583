"""`check_format`: what stored bytes say of their format, against what this library reads."""

from __future__ import annotations

from ..errors import CorruptData, NewerFormat


def check_format(written: object, known: int, what: str) -> None:
    """Raise `NewerFormat` where a newer library has written `what`, and `CorruptData` for a format that
    there never was."""
    if written == known and type(written) is int:
        return
    if type(written) is int and written > known:
        raise NewerFormat(
            f"{what} has format {written}, and this library reads up to {known}: use the version that wrote "
            "it, or a later one. Nothing was changed"
        )
    raise CorruptData(f"{what} has format {written!r}, which there is none of; this library reads {known}")
