"""Where a Ray that we start keeps its files: a folder whose sockets' names the system takes."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from ray._common import utils

log = logging.getLogger(__name__)

LONGEST_SOCKET = "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store.9999"
SHORT_FOLDER = "/tmp/ray"
"""Where Ray has its files if no variable says otherwise."""


def short_ray_folder() -> str | None:
    """The folder to start Ray with where the one that it would take is too long; None where that one will do.

    Ray takes ``RAY_TMPDIR`` or ``TMPDIR``, and does not start where the name of a socket in it has more bytes
    than the system allows (107, on macOS 103): what batch systems and test runners call a temporary folder
    often has.
    """
    ray_utils: Any = utils  # without types
    folder: str = ray_utils.get_default_ray_temp_dir()
    longest = 103 if sys.platform == "darwin" else 107
    if sys.platform == "win32" or len(os.fsencode(folder + LONGEST_SOCKET)) <= longest:
        return None
    log.info("%s is too long for the names of Ray's sockets; Ray keeps its files in %s", folder, SHORT_FOLDER)
    return SHORT_FOLDER
