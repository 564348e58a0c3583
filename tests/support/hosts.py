"""`Hosts`: machines made of namespaces, each with a network, processes, a home folder and sshd of its own.

Everything hangs on processes that this one starts: when they end (also by SIGKILL, or with us), the kernel
takes their namespaces, and with them the network, away. Nothing outside is changed, and no packet leaves.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.prefix).absolute() / "bin"
PROGRAMS = ("ip", "nsenter", "setpriv", "unshare", "ssh", "ssh-keygen", "sshd", "rsync", "hostname")
SBIN = "/usr/sbin:/sbin"
SUBNET = "10.213.77"
CLIENT_ADDRESS = f"{SUBNET}.254"
UNSHARE = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--uts",
    "--mount-proc",
)

HOST_SCRIPT = """
set -eu
mount --make-rprivate /
hostname "$NAME"
for path in $KEPT; do mkdir -p "$STATE/home/$path"; mount --rbind "$HOME/$path" "$STATE/home/$path"; done
mkdir -p /run/sshd /tmp/ray
mount --rbind "$STATE/home" "$HOME"
mount --bind "$STATE/ray" /tmp/ray
mount -t tmpfs -o size=400m tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run/sshd
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip link set eth0 up
ip address add "$ADDRESS/24" dev eth0
ip route add default via "$GATEWAY"
cd "$HOME"
exec "$SSHD" -D -e -f "$STATE/sshd_config"
"""

CLIENT_SCRIPT = """
set -eu
mount --make-rprivate /
mkdir -p /tmp/ray
mount --bind "$STATE/ray" /tmp/ray
ip link set lo up
ip link add br0 type bridge
ip address add "$GATEWAY/24" dev br0
ip link set br0 up
echo ready
exec sleep infinity
"""


def why_not() -> str | None:
    """Why hosts cannot be made here, or None."""
    if sys.platform != "linux":
        return "hosts are made of Linux namespaces"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    missing = [program for program in PROGRAMS if _which(program) is None]
    if missing:
        return f"these programs are missing: {', '.join(missing)} (`make system` installs them)"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, timeout=20)
    return None if tried.returncode == 0 else f"namespaces are not allowed here: {tried.stderr.strip()}"


@dataclass
class Host:
    """One machine."""

    name: str
    address: str
    state: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Pull the plug: SIGKILL for everything on it."""
        self.process.kill()
        self.process.wait(20)


class Hosts:
    """Some hosts and the client that they are managed from, on one bridge. See `hosts`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Path(pwd.getpwuid(0).pw_dir)
        self.key = folder / "key"
        self.hosts: list[Host] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client_pid = 0

    def start(self, names: Sequence[str]) -> None:
        """Make the client and the hosts. Returns when all of them answer."""
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True, timeout=60
        )
        self._client_pid = self._start_client()
        for number, name in enumerate(names, 1):
            self.hosts.append(self._start_host(name, f"{SUBNET}.{number}"))
        for host in self.hosts:
            wait_until(lambda host=host: self._answers(host), 60)  # type: ignore[misc]

    def run(self, *command: str | Path, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """A command on the client's machine, with a home folder of its own."""
        env = {
            "PATH": f"{BIN}:{os.environ['PATH']}:{SBIN}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "AUTOSCALER_NODE_START_WAIT_S": "20",
            "AUTOSCALER_MAX_NUM_FAILURES": "2",
        }
        entered = ["nsenter", "--all", "--target", str(self._client_pid), "--", *map(str, command)]
        return subprocess.run(
            entered, env=env, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s
        )

    def connects(self, address: str, port: int) -> bool:
        """Whether something listens there."""
        probe = f"import socket; socket.create_connection(({address!r}, {port}), 2).close()"
        return self.run(sys.executable, "-c", probe, timeout_s=30).returncode == 0

    def close(self) -> None:
        """End all of it. Twice is fine."""
        for process in self._processes:
            process.kill()
            process.wait(20)

    def _start_client(self) -> int:
        (self.folder / "ray").mkdir()
        env = {"PATH": _path(), "STATE": str(self.folder), "GATEWAY": CLIENT_ADDRESS}
        process = subprocess.Popen([*UNSHARE, "bash", "-c", CLIENT_SCRIPT], stdout=subprocess.PIPE, env=env)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return _children(process.pid)[0]

    def _start_host(self, name: str, address: str) -> Host:
        state = self.folder / name
        (state / "home" / ".ssh").mkdir(parents=True, mode=0o700)
        (state / "ray").mkdir()
        shutil.copy(f"{self.key}.pub", state / "home" / ".ssh" / "authorized_keys")
        shutil.copy(self.key, state / "host_key")
        (state / "host_key").chmod(0o600)
        # Ray's commands come through `bash --login -i`, which reads this; without it `ray stop` finds no ray.
        (state / "home" / ".bashrc").write_text(
            f"export PATH={BIN}:$PATH\n"
            "export RAY_health_check_period_ms=500 RAY_health_check_timeout_ms=1000\n"
            "export RAY_health_check_failure_threshold=4 RAY_health_check_initial_delay_ms=0\n"
        )
        (state / "sshd_config").write_text(
            f"ListenAddress {address}\nHostKey {state / 'host_key'}\nStrictModes no\nUsePAM no\n"
            f"PidFile none\nPermitRootLogin prohibit-password\n"
            f"AuthorizedKeysFile {state / 'home/.ssh/authorized_keys'}\n"
        )
        env = {
            "PATH": _path(),
            "HOME": str(self.home),
            "NAME": name,
            "STATE": str(state),
            "ADDRESS": address,
            "GATEWAY": CLIENT_ADDRESS,
            "SSHD": _which("sshd") or "",
            "KEPT": " ".join(shlex.quote(str(path)) for path in self._kept()),
        }
        with (state / "sshd.log").open("wb") as log:
            process = subprocess.Popen(
                [*UNSHARE, "bash", "-c", HOST_SCRIPT],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        wait_until(lambda: bool(_children(process.pid)), 20)  # then its namespaces are there
        link = f"to-{name}"[:15]
        peer = ("type", "veth", "peer", "name", "eth0", "netns", str(_children(process.pid)[0]))
        self._ip("link", "add", link, *peer)
        self._ip("link", "set", link, "master", "br0", "up")
        return Host(name, address, state, process)

    def _answers(self, host: Host) -> bool:
        assert host.process.poll() is None, (host.state / "sshd.log").read_text(errors="replace")
        return self.connects(host.address, 22)

    def _ip(self, *arguments: str) -> None:
        """In the client's network, and with the process numbers of here."""
        entered = ["nsenter", f"--net=/proc/{self._client_pid}/ns/net", "--", "ip", *arguments]
        subprocess.run(entered, check=True, timeout=20, env={"PATH": _path()})

    def _kept(self) -> list[Path]:
        """What of the real home folder the hosts see as well: the interpreter and this checkout."""
        wanted = {Path(sys.base_prefix).resolve(), Path(sys.prefix).absolute(), ROOT}
        inside = {path.relative_to(self.home) for path in wanted if path.is_relative_to(self.home)}
        return sorted(p for p in inside if not any(other in p.parents for other in inside))


@contextlib.contextmanager
def hosts(folder: Path, *names: str) -> Iterator[Hosts]:
    """Hosts for the time of a block; whatever happens in it, nothing of them is left."""
    made = Hosts(folder)
    try:
        made.start(names)
        yield made
    finally:
        made.close()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait for a condition, with a deadline."""
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, f"not so within {timeout_s} s"
        time.sleep(0.05)


def _path() -> str:
    return f"{os.environ['PATH']}:{SBIN}"


def _which(program: str) -> str | None:
    return shutil.which(program, path=_path())
