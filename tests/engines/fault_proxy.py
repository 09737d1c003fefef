"""A proxy on loopback in front of a real server, which answers some requests wrongly, as it is told to.

Faults are taken in turn, one for each POST, until they are spent; GET is always passed on.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["none", "429", "500", "503", "slow", "cut", "malformed", "no_choices", "no_usage", "other_model"]


class FaultProxy(ThreadingHTTPServer):
    """`bodies` counts the requests that came, by their body; `answered` those that were answered as they should."""

    daemon_threads = True

    def __init__(self, target: str, slow_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.slow_s = target, slow_s
        self.faults: Iterator[Fault] = iter(())
        self.lock = threading.Lock()
        self.bodies: Counter[bytes] = Counter()
        self.answered: Counter[bytes] = Counter()
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_fault(self) -> Fault:
        with self.lock:
            return next(self.faults, "none")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the proxy."""


@contextmanager
def proxy(target: str, faults: Iterable[Fault], slow_s: float = 9.0) -> Iterator[FaultProxy]:
    server = FaultProxy(target, slow_s)
    server.faults = iter(faults)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.bodies[body] += 1
            self.server.headers.append(dict(self.headers))
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        try:
            self._answer(self.server.next_fault(), body)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _answer(self, fault: Fault, body: bytes) -> None:
        if fault in ("429", "500", "503"):
            time.sleep(0.02)
            said = json.dumps({"error": {"message": "not now", "type": "x"}}).encode()
            self._send(int(fault), said, {"Retry-After": "0.05"} if fault == "429" else {})
        elif fault == "slow":
            time.sleep(self.server.slow_s)
            self._pass_on(body)
        elif fault == "malformed":
            self._send(200, b'{"choices": [{"mess')
        else:
            self._pass_on(body, fault)

    def _pass_on(self, body: bytes, fault: Fault = "none") -> None:
        there = urlsplit(self.server.target)
        connection = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
        path = self.path.replace("/v1", there.path, 1)
        try:
            connection.request(self.command, path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            message = f"behind the proxy, {self.server.target} fails: {error!r}"
            self._send(502, json.dumps({"error": {"message": message, "type": "x"}}).encode())
            return
        finally:
            connection.close()
        if answer.status == 200 and fault in ("no_choices", "no_usage", "other_model"):
            document = json.loads(said)
            document |= {"no_choices": {"choices": []}, "no_usage": {"usage": None}}.get(fault, {"model": "another"})
            said = json.dumps(document).encode()
        if fault == "cut":
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said[: len(said) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        if fault == "none" and body:
            with self.server.lock:
                self.server.answered[body] += 1
        self._send(answer.status, said)

    def _send(self, status: int, said: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)
