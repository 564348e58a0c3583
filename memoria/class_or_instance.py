"""A name that means one thing on the class and another on an instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class OnClassOrInstance(Generic[T]):
    """``Owner.name(...)`` calls the first (a class method), ``owner.name(...)`` the second."""

    def __init__(self, on_class: Callable[..., T], on_instance: Callable[..., T]) -> None:
        self._on_class = on_class
        self._on_instance = on_instance

    def __get__(self, instance: object | None, owner: type) -> Callable[..., T]:
        if instance is None:
            return self._on_class.__get__(None, owner)  # type: ignore[no-any-return]
        return self._on_instance.__get__(instance, owner)  # type: ignore[no-any-return]
