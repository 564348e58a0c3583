"""`RaySession`: joins the Ray that is there, or starts one of our own; ends only what it started."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray._private import services
from ray._private.authentication.authentication_token_setup import AUTH_MODE_ENV_VAR, _enable_token_auth
from ray.exceptions import AuthenticationError

from ..errors import Closed, InvalidValue, NotRunning, PermissionRefused, Unavailable
from .addresses import CLIENT_PREFIX, answers, require_answer
from .ray_folder import short_ray_folder
from .strangers import Answer, ask_gcs

log = logging.getLogger(__name__)


_forked_with_ray = False


def _note_fork() -> None:
    global _forked_with_ray
    _forked_with_ray = ray.is_initialized()


os.register_at_fork(after_in_child=_note_fork)


def check_not_forked() -> None:
    """Raise `Closed` in a child that was forked from a process with Ray: there every call would hang."""
    if _forked_with_ray and ray.is_initialized():
        raise Closed(
            "this process was forked from one that uses Ray, and Ray does not work across fork: start it "
            "with the 'spawn' method, as multiprocessing.get_context('spawn') or torch's "
            "DataLoader(multiprocessing_context='spawn') do, and connect in it"
        )


@dataclass(frozen=True, slots=True)
class RaySession:
    """A connection of this process to Ray. `started` says that `end` may shut Ray down."""

    address: str
    started: bool
    pid: int

    @classmethod
    def join(
        cls,
        address: str | None = None,
        *,
        start: bool = True,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> RaySession:
        """Use the Ray that this process has; else the one at `address`, in ``RAY_ADDRESS``, or on this
        machine; else start one on this machine, unless ``start=False``.

        Raises `NotRunning` where nothing answers at an address that was asked for, or none may be
        started, and `Unavailable` where this machine is not a node of that cluster (Ray would end the
        process after 10 s).
        """
        check_not_forked()
        if ray.is_initialized():
            if runtime_env is not None:
                raise InvalidValue(
                    "this process is connected to Ray already, and its runtime_env is that of ray.init(): "
                    "give it there, or call connect(runtime_env=...) first"
                )
            return cls._initialised(address)
        wanted = address or os.environ.get("RAY_ADDRESS") or running_here()
        if start and (wanted is None or wanted == "local"):
            return cls.start(runtime_env)
        if wanted in (None, "auto", "local"):
            wanted = _address_of_environment() or running_here()
        if wanted is None:
            raise NotRunning(
                "no Ray runs on this machine; start it with `ray start --head`, or connect() alone, "
                "or name the address of one that runs elsewhere"
            )
        if wanted.startswith(CLIENT_PREFIX):
            require_answer(wanted)
        else:
            _require_node_of(wanted)
            _use_token_of(wanted)
        try:
            ray.init(
                address=wanted,
                log_to_driver=False,
                logging_level=logging.WARNING,
                runtime_env=None if runtime_env is None else dict(runtime_env),
            )
        except (AuthenticationError, ConnectionError, RuntimeError, TimeoutError) as error:
            if isinstance(error, AuthenticationError) or "AuthToken" in str(error.__cause__ or error):
                raise PermissionRefused(_no_token(wanted)) from error
            raise Unavailable(f"cannot join Ray at {wanted}: {error}") from error
        return cls(wanted, started=False, pid=os.getpid())

    @classmethod
    def start(cls, runtime_env: Mapping[str, Any] | None = None) -> RaySession:
        """Start a Ray of our own on this machine, whatever cluster the machine last had."""
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            runtime_env=None if runtime_env is None else dict(runtime_env),
            _temp_dir=short_ray_folder(),
        )
        return cls(ray.get_runtime_context().gcs_address, started=True, pid=os.getpid())

    @classmethod
    def private(cls) -> RaySession:
        """For memory that belongs to this process: the Ray that it has already, or a new one of our own."""
        check_not_forked()
        return cls._initialised(None) if ray.is_initialized() else cls.start()

    @classmethod
    def _initialised(cls, address: str | None) -> RaySession:
        current = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", "local", current) and not address.startswith(CLIENT_PREFIX):
            raise InvalidValue(
                f"this process is connected to Ray at {current} already; "
                f"call ray.shutdown() before connecting to {address}"
            )
        return cls(current, started=False, pid=os.getpid())

    def end(self) -> None:
        """Shut Ray down if, and only if, this session started it."""
        if self.started and os.getpid() == self.pid and ray.is_initialized():
            ray.shutdown()


def running_here() -> str | None:
    """The address of the Ray that was last started on this machine, if it still answers."""
    address: str | None = services.find_bootstrap_address(None)
    return address if address and answers(address) else None


def _require_node_of(address: str) -> None:
    """Ray lets a process join only on a machine that runs a raylet of the cluster, and kills it elsewhere."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidValue(f"{address!r} is no address: use 'host:port', 'ray://host:port' or 'auto'")
    require_answer(address)
    if not _has_raylet_of(address):
        raise Unavailable(
            f"this machine is not a node of the Ray cluster at {address}. From outside use "
            f"connect('ray://{host}:10001'), or run the driver inside with `ray job submit`"
        )


def _address_of_environment() -> str | None:
    address = os.environ.get("RAY_ADDRESS")
    return None if address in (None, "", "auto", "local") else address


def _use_token_of(address: str) -> None:
    """Show the token of this machine to a cluster that asks for one, and that this machine is a node of.

    Ray does so only where no address was named; elsewhere it would hand the token to whoever is there.
    Never for a cluster that asks for none: its raylets could not call this process back.
    """
    if ask_gcs(address) is not Answer.REFUSED or os.environ.get(AUTH_MODE_ENV_VAR, "").lower() == "token":
        return
    if AUTH_MODE_ENV_VAR in os.environ or not _has_token():
        raise PermissionRefused(_no_token(address))
    _enable_token_auth()


def _has_token() -> bool:
    raylet: Any = ray._raylet  # compiled, without types
    found: bool = raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    return found


def _no_token(address: str) -> str:
    return (
        f"Ray at {address} asks for a token that this process does not show: put the cluster's into "
        "~/.ray/auth_token (mode 600) and set RAY_AUTH_MODE=token (on a node of it, unset will do)"
    )


def _has_raylet_of(gcs_address: str) -> bool:
    """Whether some raylet on this machine was started with this GCS address."""
    host, _, port = gcs_address.rpartition(":")
    names = {gcs_address}
    with contextlib.suppress(OSError):
        names |= {f"{info[4][0]}:{port}" for info in socket.getaddrinfo(host, None)}
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet":
            arguments = process.info["cmdline"] or ()
            if any(f"--gcs-address={name}" in arguments for name in names):
                return True
    return False
