"""Files below a folder, streamed in a fixed order: disks by folders, object storage by pages of names, in parallel."""

import errno
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from recast.pipeline import storage
from recast.pipeline.sources import passed_over
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import FileSystem

T = TypeVar("T")

THREADS = 8
"""Requests for listings at once."""
ENOUGH_PREFIXES = 4 * THREADS
DEEPEST_SPLIT = 4
"""Levels of prefixes that are looked through to find enough to list in parallel."""
PAGES_AHEAD = 4
"""Pages of a prefix that wait for whoever consumes them; a page is a thousand names."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, and what its storage says of it without its being read."""

    path: str
    size: int
    fingerprint: str


def files(fs: FileSystem, root: str, skip: str = "", over: PassedOver | None = None) -> Iterator[File]:
    """Every file below a folder, except below `skip`. Memory holds no more than a few pages or folders of names.

    Args:
        over: counts what is no file: links to folders (circles!), which are not followed, markers and devices.
    """
    over = over or PassedOver()
    if storage.is_local(fs):
        yield from _on_disk(root, skip, over)
        return
    found = _in_s3(fs, root, over) if "s3" in fs.protocol else _in_folders(fs, root, over)
    for file in found:
        if not (skip and (file.path == skip or file.path.startswith(f"{skip}/"))):
            yield file


def described(info: dict[str, Any]) -> File:
    """What fsspec says of a file."""
    size = int(info.get("size") or 0)
    etag = str(info.get("ETag") or info.get("etag") or "")
    if etag:
        return File(info["name"], size, fingerprint(etag=etag))
    if isinstance(info.get("mtime"), float):  # the local file system; the same fingerprint as `_on_disk` gives
        return File(info["name"], size, fingerprint(size, os.stat(info["name"]).st_mtime_ns))
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    return File(info["name"], size, fingerprint(size, changed))


def fingerprint(size: int = 0, changed: object = "", *, etag: str = "") -> str:
    """What identifies a file's content: its ETag, or else its size and when it changed."""
    plain = etag.strip('"')
    return f"etag:{plain}" if plain else f"{size}+{changed}"


def _on_disk(root: str, skip: str, over: PassedOver) -> Iterator[File]:
    """One `stat` a file. Links to files are followed."""
    waiting = [_entries(root)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif entry.is_dir(follow_symlinks=False):
            if entry.path != skip:
                waiting.append(_entries(entry.path))
        elif kind := _kind(entry):
            over.add(kind)
        else:
            facts = entry.stat()
            yield File(entry.path, facts.st_size, fingerprint(facts.st_size, facts.st_mtime_ns))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda e: e.name))


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is that is no file; empty for a file."""
    try:
        if entry.is_file():
            return ""
        if not entry.is_symlink():
            return passed_over.SPECIAL
        return (
            passed_over.LINK_TO_FOLDER
            if entry.is_dir()
            else passed_over.SPECIAL
            if os.path.exists(entry)
            else passed_over.DANGLING
        )
    except OSError as fault:
        if fault.errno != errno.ELOOP:
            raise
        return passed_over.DANGLING


def _in_s3(fs: FileSystem, root: str, over: PassedOver) -> Iterator[File]:
    """By pages of keys, however many "folders" they lie in: a request for every thousand objects, several at once."""
    bucket, _, prefix = root.partition("/")
    parts: list[File | str] = [f"{prefix}/" if prefix else ""]
    with ThreadPoolExecutor(THREADS, "listing") as pool:
        for _ in range(DEEPEST_SPLIT):
            if not 0 < sum(isinstance(part, str) for part in parts) < ENOUGH_PREFIXES:
                break
            split = pool.map(lambda part: _split(fs, bucket, part, over) if isinstance(part, str) else [part], parts)
            parts = [piece for pieces in split for piece in pieces]
    makers = [
        partial(_pages, fs, bucket, part, over) if isinstance(part, str) else partial(_alone, part) for part in parts
    ]
    for page in chained_ahead(makers):
        yield from page


def _split(fs: FileSystem, bucket: str, prefix: str, over: PassedOver) -> list[File | str]:
    """The files and prefixes right below a prefix, in order of their keys; the prefix itself if they fill a page."""
    page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/")
    if page.get("IsTruncated"):
        return [prefix]
    below: list[File | str] = [part["Prefix"] for part in page.get("CommonPrefixes", ())]
    below += _files(bucket, page, over)
    return sorted(below, key=lambda part: part if isinstance(part, str) else part.path[len(bucket) + 1 :])


def _pages(fs: FileSystem, bucket: str, prefix: str, over: PassedOver) -> Iterator[list[File]]:
    more: dict[str, str] = {}
    while True:
        page = fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        yield _files(bucket, page, over)
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _files(bucket: str, page: dict[str, Any], over: PassedOver) -> list[File]:
    found = []
    for described_object in page.get("Contents", ()):
        key, size = described_object["Key"], described_object["Size"]
        if kind := _marker(key, size):
            over.add(kind)
        else:
            found.append(described({**described_object, "name": f"{bucket}/{key}", "size": size}))
    return found


def _marker(name: str, size: int) -> str:
    """Whether an object stands for a folder, as file browsers (`folder/`) and Hadoop (`folder_$folder$`) make them."""
    if name.endswith("/"):
        return passed_over.ENDS_IN_SLASH if size else passed_over.MARKER
    return passed_over.MARKER if name.endswith("$") and not size else ""


def _alone(file: File) -> Iterator[list[File]]:
    yield [file]


def _in_folders(fs: FileSystem, root: str, over: PassedOver) -> Iterator[File]:
    """Any other storage, by `ls`: depth first, the next few folders being listed already."""
    with ThreadPoolExecutor(THREADS, "listing") as pool:
        waiting: deque[tuple[str, Future[Any] | None]] = deque([(root, None)])
        while waiting:
            folder, listing = waiting.popleft()
            entries = listing.result() if listing else fs.ls(folder, detail=True)
            entries = sorted(entries, key=lambda e: e["name"])
            for entry in entries:
                if entry["type"] != "directory":
                    kind = (
                        _marker(entry["name"], entry["size"] or 0) if entry["type"] == "file" else passed_over.SPECIAL
                    )
                    if kind:
                        over.add(kind)
                    else:
                        yield described(entry)
            below = [e["name"].rstrip("/") for e in entries if e["type"] == "directory"]
            waiting.extendleft((name, None) for name in reversed(below) if name != folder)
            for place, (name, begun) in enumerate(islice(waiting, THREADS)):
                if begun is None:
                    waiting[place] = (name, pool.submit(fs.ls, name, detail=True))


_END = object()


def chained_ahead(makers: Sequence[Callable[[], Iterator[T]]], threads: int = THREADS) -> Iterator[T]:
    """The makers' iterators one after the other, the next few being drained already, each into a short queue."""
    left, stop = iter(makers), threading.Event()
    queues: deque[queue.Queue[Any]] = deque()
    with ThreadPoolExecutor(threads, "listing") as pool:

        def begin(count: int) -> None:
            for make in islice(left, count):
                queues.append(queue.Queue(PAGES_AHEAD))
                pool.submit(_drain, make, queues[-1], stop)

        try:
            begin(threads)
            while queues:
                current = queues.popleft()
                while (item := current.get()) is not _END:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
                begin(1)
        finally:
            stop.set()


def _drain(make: Callable[[], Iterator[Any]], into: queue.Queue[Any], stop: threading.Event) -> None:
    def put(item: object) -> None:
        while not stop.is_set():
            try:
                into.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    try:
        for item in make():
            put(item)
            if stop.is_set():
                return
    except BaseException as fault:  # for whoever consumes, to raise
        put(fault)
    put(_END)
