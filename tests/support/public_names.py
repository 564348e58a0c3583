"""Every public name has a docstring with an example, and the example is true: the tests run them."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from importlib import import_module

PACKAGES = ("memories", "memories.core", "memories.replay", "memories.replay.writers", "memoria", "memory")
NEED_RAY = {"Cluster", "DistributedMemoryManager", "MemoryManager", "connect"}
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def public_names() -> Iterator[tuple[str, object]]:
    """Each class and function of the `__all__` lists once, with the name that users import."""
    seen: set[int] = set()
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            ours = (getattr(value, "__module__", None) or "").startswith(("memories", "memoria"))
            if ours and callable(value) and id(value) not in seen:
                seen.add(id(value))
                yield f"{package}.{name}", value


def run_examples(name: str, value: object) -> None:
    """Fails where the docstring has no example, or one that is not true."""
    assert value.__doc__, f"{name} has no docstring"
    module = import_module(value.__module__)
    text = inspect.getdoc(value) or ""
    test = doctest.DocTestParser().get_doctest(text, dict(vars(module)), name, None, 0)
    assert test.examples, f"the docstring of {name} has no example"
    output: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=output.append)
    assert not output, "".join(output)
