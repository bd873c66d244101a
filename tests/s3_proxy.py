"""Proxies before an S3 server: one does what tired storage does, one lets through what an IAM policy allows."""

import contextlib
import http.client
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>by the proxy</Message></Error>"
CODES = {"403": b"AccessDenied", "500": b"InternalError", "503": b"SlowDown"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    copied_from: str
    body: bytes


class S3Proxy:
    """Forwards requests to `endpoint`, unless their fate is another."""

    stall_s = 0.0

    def __init__(self, endpoint: str) -> None:
        self.target = urlsplit(endpoint).netloc
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def fate(self, request: Request) -> str:
        """What happens to a request: forward, a status, stall, cut, or cut answer."""
        return "forward"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class FlakyProxy(S3Proxy):
    """A share of the requests goes wrong in one of five ways. Counts what it did."""

    def __init__(self, endpoint: str, share: float, stall_s: float, seed: int = 0) -> None:
        super().__init__(endpoint)
        self.share, self.stall_s = share, stall_s
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)

    def fate(self, request: Request) -> str:
        with self._lock:
            bad = self._random.random() < self.share
            fate = self._random.choice(["500", "503", "cut", "cut answer", "stall"]) if bad else "forward"
            self.done[fate] += 1
            return fate


class PolicyProxy(S3Proxy):
    """Refuses what an IAM policy doesn't allow, as S3 would. Remembers what was used of it, and what was refused."""

    def __init__(self, endpoint: str, policy: dict[str, Any]) -> None:
        super().__init__(endpoint)
        statements = policy["Statement"]
        assert all(statement["Effect"] == "Allow" for statement in statements)
        self.allowed = {(a, r) for statement in statements for a in statement["Action"] for r in statement["Resource"]}
        self.used: set[tuple[str, str]] = set()
        self.refused: list[tuple[str, str]] = []

    def fate(self, request: Request) -> str:
        for action, resource in actions(request):
            by = {(a, r) for a, r in self.allowed if a == action and fnmatchcase(resource, r)}
            with self._lock:
                self.used |= by
                if not by:
                    self.refused.append((action, resource))
                    return "403"
        return "forward"


def actions(request: Request) -> list[tuple[str, str]]:
    """The actions that a request needs, and on what (AWS, "Required permissions for Amazon S3 API operations")."""
    parts = urlsplit(request.path)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    place = f"arn:aws:s3:::{bucket}"
    if not bucket:
        return [("s3:ListAllMyBuckets", "*")]
    if not key:
        if request.method == "POST" and "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
            return [("s3:DeleteObject", f"{place}/{key}") for key in keys]
        lists = request.method == "HEAD" or {"list-type", "prefix", "delimiter"} & set(query)
        return [("s3:ListBucket" if lists else f"{request.method} on a bucket, {sorted(query)}", place)]
    if request.method == "DELETE":
        return [("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", f"{place}/{key}")]
    if request.method in ("GET", "HEAD"):
        return [("s3:GetObject", f"{place}/{key}")]
    copied = unquote(request.copied_from).lstrip("/")
    read = [("s3:GetObject", f"arn:aws:s3:::{copied}")] if copied else []
    return [*read, ("s3:PutObject", f"{place}/{key}")]


def _handler(proxy: S3Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers.get("x-amz-copy-source") or "", body)
            fate = proxy.fate(request)
            if fate == "stall":
                time.sleep(proxy.stall_s)
            if fate in ("cut", "stall"):
                self._cut()
            elif fate in CODES:
                self._answer(int(fate), {}, ERROR % CODES[fate])
            else:
                status, headers, answer = self._forwarded(body)
                self._answer(status, headers, answer, cut=fate == "cut answer")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = any  # noqa: N815  # what http.server calls

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
