"""A proxy before an S3 server that does what tired storage does: errors, cut connections, long silences."""

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>tired</Message></Error>"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class FlakyProxy:
    """Forwards requests to `endpoint`, a share of which goes wrong in one of five ways. Counts what it did."""

    def __init__(self, endpoint: str, share: float, stall_s: float, seed: int = 0) -> None:
        self.target = urlsplit(endpoint).netloc
        self.share, self.stall_s = share, stall_s
        self.done: Counter[str] = Counter()
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def fate(self) -> str:
        """What happens to the next request."""
        with self._lock:
            bad = self._random.random() < self.share
            fate = self._random.choice(["500", "503", "cut", "cut answer", "stall"]) if bad else "forward"
            self.done[fate] += 1
            return fate

    def __enter__(self) -> "FlakyProxy":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: FlakyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = proxy.fate()
            if fate == "stall":
                time.sleep(proxy.stall_s)
            if fate in ("cut", "stall"):
                self._cut()
            elif fate in ("500", "503"):
                self._answer(int(fate), {}, ERROR % (b"InternalError" if fate == "500" else b"SlowDown"))
            else:
                status, headers, answer = self._forwarded(body)
                self._answer(status, headers, answer, cut=fate == "cut answer")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = any  # noqa: N815

        def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            server = http.client.HTTPConnection(proxy.target, timeout=30)
            with contextlib.closing(server):
                server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        server.putheader(name, value)
                server.endheaders(body or None)
                answer = server.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()

        def _answer(self, status: int, headers: dict[str, str], answer: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(answer)))
            self.end_headers()
            self.wfile.write(answer[: len(answer) // 2] if cut else answer)
            if cut:
                self._cut()

        def _cut(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

        def log_message(self, *_: object) -> None: ...

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError, ValueError):  # ours to cut, and the client's
                super().handle_one_request()

    return Handler


@contextlib.contextmanager
def flaky(endpoint: str, *, share: float = 0.1, stall_s: float = 2.0) -> Iterator[FlakyProxy]:
    with FlakyProxy(endpoint, share, stall_s) as proxy:
        yield proxy
