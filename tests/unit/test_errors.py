"""Every error survives pickling, has our base, and shows its message as a sentence."""

from __future__ import annotations

import inspect
import pickle

import pytest

from memories import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.MemoriesError)]


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda c: c.__name__)
def test_survives_pickling(error_class: type[errors.MemoriesError]) -> None:
    error = error_class("key 'a' is not stored; keys() lists what is")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is error_class
    assert copy.args == error.args
    assert str(copy) == str(error) == "key 'a' is not stored; keys() lists what is"


@pytest.mark.parametrize("error_class", CLASSES, ids=lambda c: c.__name__)
def test_has_a_docstring_of_its_own(error_class: type[errors.MemoriesError]) -> None:
    assert error_class.__dict__.get("__doc__")


@pytest.mark.parametrize(
    ("error_class", "standard"),
    [("KeyNotFound", KeyError), ("DeadlineExceeded", TimeoutError), ("InvalidValue", ValueError)],
)
def test_is_also_the_standard_class(error_class: str, standard: type[Exception]) -> None:
    assert issubclass(getattr(errors, error_class), standard)
