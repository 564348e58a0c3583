"""`FaultProxy`: a TCP proxy in front of a real server that damages chosen answers.

Each request of a kept-alive HTTP/1.1 connection is read whole, shown to a rule, and then passed on,
answered with an error, cut short, or met with a dead connection, as the rule says. What the server has
done by then is real.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

PASS = "pass"
"""Hand the request on and the answer back."""
UNAVAILABLE = "503"
"""Answer 503 without asking the server."""
SLOW_DOWN = "slow down"
"""Answer 503 SlowDown in S3's XML, without asking the server."""
TRUNCATE = "truncate"
"""Hand the request on, send the headers and half of the body of the answer, and close."""
LOSE_REPLY = "lose reply"
"""Hand the request on, let the server act, and close without an answer."""
REFUSE = "refuse"
"""Close without asking the server."""
RUBBISH = "rubbish"
"""Hand the request on and answer with the right headers and a body of other bytes."""
STALL = "stall"
"""Take the request and say nothing until the proxy is closed."""


@dataclass(frozen=True)
class Request:
    """The start line of a request, and its number among those that the proxy has seen."""

    method: str
    target: str
    number: int


Rule = Callable[[Request], str]


@dataclass
class FaultProxy:
    """Listens on `port` of the loopback; `rule` may be changed at any time."""

    upstream_port: int
    rule: Rule = field(default=lambda request: PASS)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> FaultProxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        # shutdown wakes a thread that waits in accept; close alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the proxy does not end"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str, part: str = "") -> int:
        """How many requests of a method there were whose target contains a text."""
        with self._lock:
            return sum(r.method == method and part in r.target for r in self.requests)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="fault-proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, EOFError):
            stack.enter_context(self._tracked(client))
            server = stack.enter_context(
                self._tracked(socket.create_connection(("127.0.0.1", self.upstream_port), timeout=60))
            )
            from_client = stack.enter_context(client.makefile("rb"))
            from_server = stack.enter_context(server.makefile("rb"))
            while not self._closed.is_set():
                head = _read_head(from_client)
                method, target = head.split(b" ", 2)[:2]
                with self._lock:
                    request = Request(method.decode(), target.decode(), len(self.requests) + 1)
                    self.requests.append(request)
                if b"expect: 100-continue" in head.lower():
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = _read_body(head, from_client)
                if not self._act(self.rule(request), client, server, from_server, head, body, request):
                    return

    def _act(
        self,
        fault: str,
        client: socket.socket,
        server: socket.socket,
        from_server: object,
        head: bytes,
        body: bytes,
        request: Request,
    ) -> bool:
        """Deal with one request; whether the connection goes on."""
        if fault == REFUSE:
            return False
        if fault == STALL:
            self._closed.wait()
            return False
        if fault in (UNAVAILABLE, SLOW_DOWN):
            text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            text = text if fault == SLOW_DOWN else b"upstream connect error"
            client.sendall(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(text) + text
            )
            return True
        server.sendall(_without_expect(head) + body)
        answer_head = _read_head(from_server)
        has_body = request.method != "HEAD"
        answer = _read_body(answer_head, from_server) if has_body else b""
        if fault == LOSE_REPLY:
            return False
        if fault == TRUNCATE:
            client.sendall(answer_head + answer[: len(answer) // 2])
            return False
        if fault == RUBBISH:
            answer = bytes(byte ^ 0x55 for byte in answer)
        client.sendall(answer_head + answer)
        return b"connection: close" not in answer_head.lower()

    @contextlib.contextmanager
    def _tracked(self, connection: socket.socket):  # type: ignore[no-untyped-def]
        with connection:
            with self._lock:
                self._sockets.add(connection)
            try:
                yield connection
            finally:
                with self._lock:
                    self._sockets.discard(connection)


def fail_first(count: int, fault: str, method: str, part: str = "") -> Rule:
    """A rule that damages the first so many requests of a method whose target contains a text."""
    left = [count]
    lock = threading.Lock()

    def rule(request: Request) -> str:
        if request.method != method or part not in request.target:
            return PASS
        with lock:
            left[0] -= 1
            return fault if left[0] >= 0 else PASS

    return rule


def _read_head(stream: object) -> bytes:
    lines = []
    while True:
        line = stream.readline()  # type: ignore[attr-defined]
        if not line:
            raise EOFError
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)


def _headers(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _read_body(head: bytes, stream: object) -> bytes:
    """The body as it is on the wire, chunk sizes and all."""
    headers = _headers(head)
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        pieces = []
        while True:
            line = stream.readline()  # type: ignore[attr-defined]
            size = int(line.split(b";")[0], 16)
            pieces += [line, _exactly(stream, size + 2)]
            if size == 0:
                return b"".join(pieces)
    return _exactly(stream, int(headers.get(b"content-length", b"0")))


def _exactly(stream: object, size: int) -> bytes:
    data: bytes = stream.read(size)  # type: ignore[attr-defined]
    if len(data) != size:
        raise EOFError
    return data


def _without_expect(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")]
    return b"\r\n".join(lines)
