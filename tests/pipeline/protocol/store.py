"""An object store in memory whose every call has a number, so that a test can break each of them in turn."""

import datetime
import hashlib
import io
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import fsspec
from botocore.exceptions import EndpointConnectionError
from fsspec.spec import AbstractFileSystem

T = TypeVar("T")

PROTOCOL = "numbered"
CALL_S = 0.001
"""What a call takes on the store's clock."""

Kind = Literal["before", "after", "lost", "refused"]
"""The process ends before the call or after it; or the call takes effect and the process is told of a network error; or
it is told so and nothing took effect."""
KINDS: tuple[Kind, ...] = ("before", "after", "lost", "refused")


class Crash(BaseException):
    """The process has ended, as by SIGKILL. Nothing in the product catches it, and no later call gets through."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong at one call of a process."""

    kind: Kind
    call: int
    """Counted from 1."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An object: whole or not there, never changed in place."""

    data: bytes
    etag: str
    changed_s: float


@dataclass(slots=True)
class Bucket:
    """All objects by path, and the time. With `conditions`, writes may depend on what lies there."""

    conditions: bool = True
    blobs: dict[str, Blob] = field(default_factory=dict)
    now_s: float = 1_700_000_000.0
    gone: set[str] = field(default_factory=set)
    """Names of processes that whoever comes later can know to be dead."""

    def put(self, path: str, data: bytes) -> None:
        self.blobs[path] = Blob(data, hashlib.md5(data).hexdigest(), self.now_s)

    def below(self, folder: str) -> dict[str, bytes]:
        """Paths below a folder, relative to it, and what lies there."""
        prefix = folder.rstrip("/") + "/"
        return {p.removeprefix(prefix): blob.data for p, blob in self.blobs.items() if p.startswith(prefix)}


@dataclass(slots=True, eq=False)
class Process:
    """Whoever calls the store: what happened to it so far, and what will."""

    name: str
    bucket: Bucket
    trouble: Trouble | None = None
    skew_s: float = 0.0
    """How far its clock is ahead of the store's."""
    gate: Callable[[str, Callable[[], bool]], None] | None = None
    """Called before each call and wait with what comes, and what it waits for; returns when its turn comes."""
    spawn: Callable[[Callable[[], None]], Callable[[], bool]] | None = None
    """Begins a thread of this process; gives what tells whether it has ended. None: there are no threads."""
    dead: bool = False
    trace: list[str] = field(default_factory=list)
    """Its calls so far."""

    def __enter__(self) -> "Process":
        self._before, _RUNNING.process = getattr(_RUNNING, "process", None), self
        return self

    def __exit__(self, *_: object) -> None:
        _RUNNING.process = self._before

    _before: Any = None

    def call(self, what: str, effect: Callable[[], T]) -> T:
        """One call to the store, with what is to happen at it."""
        if self.gate and not self.dead:
            self.gate(what, lambda: True)
        if self.dead:
            raise Crash(self.name)
        self.trace.append(what)
        self.bucket.now_s += CALL_S
        kind = self.trouble.kind if self.trouble and self.trouble.call == len(self.trace) else None
        if kind == "before":
            self._die()
        if kind == "refused":
            raise EndpointConnectionError(endpoint_url="https://store")
        try:
            answer = effect()
        except OSError:
            if kind is None:
                raise
        if kind == "after":
            self._die()
        if kind == "lost":
            raise EndpointConnectionError(endpoint_url="https://store")
        return answer

    def wait(self, what: str, ready: Callable[[], bool], seconds: float | None) -> None:
        """Wait until something is so, or the time is over. Without others to wait for, the time passes at once."""
        until = math.inf if seconds is None else self.bucket.now_s + seconds
        if self.gate:
            self.gate(what, lambda: ready() or self.bucket.now_s >= until)
        elif not ready():
            assert seconds is not None, f"{what} waits for ever"
            self.bucket.now_s = until

    def _die(self) -> None:
        self.dead = True
        raise Crash(self.name)


_RUNNING = threading.local()


def running() -> Process:
    """The process that this thread is part of."""
    process = getattr(_RUNNING, "process", None)
    assert process is not None, "a call to the store outside of any process"
    return process


class NumberedFileSystem(AbstractFileSystem):
    """The store of the running process, as fsspec sees it: `numbered://bucket/path`."""

    protocol = PROTOCOL
    cachable = False
    root_marker = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path).strip("/")

    def _call(self, verb: str, path: str, effect: Callable[[Bucket, str], T]) -> T:
        process, path = running(), self._strip_protocol(path)
        return process.call(f"{verb} {path}", lambda: effect(process.bucket, path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return self._call("STAT", path, _info)

    def exists(self, path: str, **_: Any) -> bool:
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        entries = self._call("LIST", path, _listed)
        return entries if detail else [entry["name"] for entry in entries]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return self._call("GET", path, lambda bucket, at: _blob(bucket, at).data[start:end])

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._call("PUT", path, lambda bucket, at: _put(bucket, at, bytes(value), mode == "create", **options))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        with open(lpath, "rb") as file:
            data = file.read()
        self._call("PUT", rpath, lambda bucket, at: bucket.put(at, data))

    def rm_file(self, path: str) -> None:
        self._call("DELETE", path, lambda bucket, at: bucket.blobs.pop(at, None))

    def modified(self, path: str) -> datetime.datetime:
        return self.info(path)["LastModified"]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        assert mode == "rb", "object stores have no files to write into"
        return io.BytesIO(self.cat_file(path))


def _blob(bucket: Bucket, path: str) -> Blob:
    if path not in bucket.blobs:
        raise FileNotFoundError(path)
    return bucket.blobs[path]


def _info(bucket: Bucket, path: str) -> dict[str, Any]:
    if path in bucket.blobs:
        blob = bucket.blobs[path]
        changed = datetime.datetime.fromtimestamp(blob.changed_s, datetime.UTC)
        facts = {"size": len(blob.data), "ETag": f'"{blob.etag}"', "LastModified": changed}
        return {"name": path, "type": "file", **facts}
    if any(name.startswith(f"{path}/") for name in bucket.blobs):
        return {"name": path, "size": 0, "type": "directory"}
    raise FileNotFoundError(path)


def _listed(bucket: Bucket, folder: str) -> list[dict[str, Any]]:
    prefix = f"{folder}/" if folder else ""
    names = {prefix + p.removeprefix(prefix).split("/")[0] for p in bucket.blobs if p.startswith(prefix)}
    if not names:
        return [_info(bucket, folder)]
    return [_info(bucket, name) for name in sorted(names)]


def _put(
    bucket: Bucket, path: str, data: bytes, create: bool, IfMatch: str | None = None, IfNoneMatch: str | None = None
) -> None:
    """As s3fs hands it on, with S3's own names for the conditions."""
    there = bucket.blobs.get(path)
    if bucket.conditions:
        if there and (create or IfNoneMatch):
            raise FileExistsError(path)
        if IfMatch is not None and (there is None or there.etag != IfMatch.strip('"')):
            raise FileExistsError(path) if there else FileNotFoundError(path)
    bucket.put(path, data)


fsspec.register_implementation(PROTOCOL, NumberedFileSystem, clobber=True)
