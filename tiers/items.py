"""`Item`: the arguments of one `store`, and the forms in which several of them may be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import InvalidType
from .validation import check_flag, check_key, check_metadata, check_priority, check_ttl


class _Missing:
    """Stands for an argument that was not given, where None is a value like any other."""

    def __repr__(self) -> str:
        return "<not given>"


MISSING = _Missing()


class Item(NamedTuple):
    """What the caller wants stored, not yet checked."""

    key: str
    value: Any
    metadata: Mapping[str, Any] | None = None
    priority: float = 0.0
    ttl: float | None = None
    pin: bool = False

    def checked(self) -> Item:
        """The same with every argument validated and the metadata copied."""
        key = check_key(self.key)
        priority, plain = self.priority, self.metadata is None and self.ttl is None and self.pin is False
        if plain and key is self.key and type(priority) is float and priority == 0:
            return self  # a name and a value, as most are: there is nothing else to check
        return Item(
            key,
            self.value,
            check_metadata(self.metadata),
            check_priority(self.priority),
            check_ttl(self.ttl),
            check_flag("pin", self.pin),
        )


_ITEM_NAMES = {*Item._fields, "data"}


def one_value(value: Any, data: Any) -> Any:
    """The one that was given of `value` and `data`, which are two words for the same."""
    if (value is MISSING) == (data is MISSING):
        raise InvalidType("store needs a value: give exactly one of value= and data=")
    return data if value is MISSING else value


def read_items(items: Mapping[str, Any] | Iterable[Any]) -> list[Item]:
    """Items from a mapping of keys to values, from pairs, or from mappings of arguments."""
    if isinstance(items, Mapping):
        return list(map(Item, items.keys(), items.values()))
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise InvalidType(f"a mapping or an iterable of items is expected, not {type(items).__name__}")
    return [_read_item(item, position) for position, item in enumerate(items)]


def _read_item(item: Any, position: int) -> Item:
    if isinstance(item, Item):
        return item
    if isinstance(item, Mapping):
        unknown = set(item) - _ITEM_NAMES
        if unknown or "key" not in item:
            raise InvalidType(
                f"item {position} has the names {sorted(map(str, item))}; it needs key and value, and may "
                "have metadata, priority, ttl, pin"
            )
        arguments = dict(item)
        value = one_value(arguments.pop("value", MISSING), arguments.pop("data", MISSING))
        return Item(value=value, **arguments)
    if isinstance(item, tuple) and len(item) == 2:
        return Item(*item)
    raise InvalidType(
        f"item {position} is a {type(item).__name__}; it must be a pair (key, value) or a mapping "
        "with key and value"
    )
