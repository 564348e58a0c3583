"""The compiled kernels, if they can be had: numba is imported at the first call that profits from it.

NumPy does the same work, several times slower, where numba is missing or ``MEMORIES_COMPILED=0`` is set.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_lock = threading.Lock()
_loaded: ModuleType | None = None
_tried = False


def load() -> ModuleType | None:
    """The kernels, loaded (or compiled, once a machine) now if need be; None where NumPy must do.

    The first call takes about half a second, and up to 12 seconds the first time on a machine; both
    are logged, the latter as a warning, since somebody is waiting. Thread-safe.
    """
    global _loaded, _tried
    if _tried:
        return _loaded
    with _lock:
        if not _tried:
            _loaded = _load()
            _tried = True
    return _loaded


def plain(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array as the kernels take it: of this dtype, writeable, its elements one after another.

    A copy where it is not: a reversed view, or what comes out of shared memory, which is read-only.
    """
    # Identity, since comparing dtypes takes longer than the rest; an equal one costs a copy.
    if array.dtype is dtype and array.flags.carray:
        return array
    return np.array(array, dtype, order="C")


def _load() -> ModuleType | None:
    if os.environ.get("MEMORIES_COMPILED", "1") == "0":
        logger.info("MEMORIES_COMPILED=0: replay buffers use NumPy alone.")
        return None
    started = time.perf_counter()
    try:
        import numba
    except ImportError as error:
        logger.info("numba cannot be imported (%s): replay buffers use NumPy alone, which is slower.", error)
        return None
    if not _was_compiled_before(numba):
        logger.warning("Compiling the replay kernels: this takes about ten seconds, once on this machine.")
    try:
        module = import_module(".kernels", __package__)
    except Exception:
        logger.warning("The replay kernels cannot be compiled: NumPy does the work.", exc_info=True)
        return None
    logger.info("The replay kernels were loaded in %.2f s.", time.perf_counter() - started)
    return module


def _was_compiled_before(numba: ModuleType) -> bool:
    """Whether numba's cache holds our kernels; a guess, made for the log message only."""
    folder = Path(numba.config.CACHE_DIR or Path(__file__).resolve().parent / "__pycache__")
    return folder.is_dir() and next(folder.rglob("kernels.tree_find-*.nbi"), None) is not None
