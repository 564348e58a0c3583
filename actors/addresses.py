"""Whether somebody answers at an address. Knows no Ray, so that it can be asked before Ray is loaded."""

from __future__ import annotations

import socket

from ..errors import NotRunning

CLIENT_PREFIX = "ray://"
PROBE_TIMEOUT_S = 3.0
GCS_PORT = "GCS port (6379 by default)"
CLIENT_PORT = "Ray Client port (10001 by default)"


def answers(address: str) -> bool:
    """Whether something listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def require_answer(address: str) -> None:
    """Raise `NotRunning` where nothing listens at ``host:port`` or ``ray://host:port``: Ray itself would
    try for half a minute."""
    port = CLIENT_PORT if address.startswith(CLIENT_PREFIX) else GCS_PORT
    bare = address.removeprefix(CLIENT_PREFIX)
    if not answers(bare):
        raise NotRunning(f"nothing answers at {bare}; is the cluster up, and is this its {port}?")
