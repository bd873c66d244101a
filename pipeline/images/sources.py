"""From a SOURCE (folder, glob, file, tar, zip; local or any fsspec URL) to a stream of inputs."""

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import storage
from pipeline.images import archives
from pipeline.images.inputs import Input, read, readable
from pipeline.storage import FileSystem, StorageError

DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Left behind by file managers; never an input."""
WILDCARDS = set("*?[")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the inputs come from, and which of them count."""

    url: str
    """A folder, a glob, one file, a tar or a zip; a local path or an fsspec URL."""
    include: tuple[str, ...] = ()
    """Globs over keys; where there are any, a key must match one."""
    exclude: tuple[str, ...] = ()
    """Globs over keys; a key that matches one is left out."""
    skip: str = ""
    """A URL below which nothing is an input: the output, where it lies inside the source."""

    def admits(self, key: str) -> bool:
        if self.include and not any(fnmatch.fnmatchcase(key, p) for p in self.include):
            return False
        return not any(fnmatch.fnmatchcase(key, p) for p in self.exclude)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    fingerprint: str


def inventory(source: Source) -> Iterator[Input]:
    """Every input of a source, in a fixed order. Archives are listed by their members, which are read where they lie.

    Raises:
        StorageError: no such source, no permission, an archive that can't be listed at all.
    """
    fs, path = storage.filesystem(source.url)
    with storage.faults_as_sentences(f"listing {source.url}"):
        for item in _listed(fs, path, source):
            if source.admits(item.key):
                yield item


def _listed(fs: FileSystem, path: str, source: Source) -> Iterator[Input]:
    if WILDCARDS & set(path) and not fs.exists(path):
        root, files = _fixed_part(path), _matches(fs, path, source.url)
    elif fs.isfile(path):
        if archives.is_archive(path):
            yield from archives.members(fs, path, prefix="")
            return
        root, files = path.rpartition("/")[0], iter([_file(fs.info(path))])
    elif fs.isdir(path):
        root, files = path, _walk(fs, path, _skipped(source.skip))
    else:
        raise StorageError(f"there is nothing at {source.url}: no such file, folder or archive")
    for file in files:
        key = file.path[len(root) :].lstrip("/")
        if archives.is_archive(file.path):
            yield from archives.members(fs, file.path, prefix=f"{readable(key)}/")
        elif key.rpartition("/")[2] not in DROPPINGS:
            yield Input.of_file(readable(key), storage.uri(fs, file.path), file.fingerprint, file.size)


def read_source(uri: str, max_bytes: int = 1 << 30) -> bytes:
    """The bytes that an index row's `source` names. Raises FileNotFoundError where they are gone."""
    if "::" not in uri:
        fs, path = storage.filesystem(uri)
        return storage.read_bytes(fs, path)
    fs, path = storage.filesystem(uri.split("::", 1)[1])
    for item in archives.members(fs, path, prefix=""):
        if item.source == uri:
            return read(item, max_bytes)
    raise FileNotFoundError(uri)


def _skipped(url: str) -> str:
    return storage.filesystem(url)[1] if url else ""


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if WILDCARDS & set(part))
    return "/".join(parts[:first])


def _matches(fs: FileSystem, pattern: str, url: str) -> Iterator[_File]:
    found = fs.glob(pattern, detail=True)
    files = [_file(info) for _, info in sorted(found.items()) if info["type"] == "file"]
    if not files:
        raise StorageError(f"no file matches {url}")
    return iter(files)


def _walk(fs: FileSystem, root: str, skip: str) -> Iterator[_File]:
    """Files below a folder, folder by folder, each sorted by name: memory holds one folder's listing at a time."""
    if storage.is_local(fs):
        yield from _walk_disk(root, skip)
        return
    for folder, _, files in fs.walk(root, detail=True):
        if skip and (folder == skip or folder.startswith(skip + "/")):
            continue
        for name, info in sorted(files.items()):
            if name:
                yield _file(info)


def _walk_disk(folder: str, skip: str) -> Iterator[_File]:
    """As `_walk`, with one `stat` a file. Links to files are followed, links to folders (circles!) not."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda e: e.name)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            if entry.path != skip and entry.name != "__MACOSX":
                yield from _walk_disk(entry.path, skip)
        elif entry.is_file():
            facts = entry.stat()
            yield _File(entry.path, facts.st_size, f"{facts.st_size}+{facts.st_mtime_ns}")


def _file(info: dict[str, Any]) -> _File:
    size = int(info.get("size") or 0)
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    if etag:
        return _File(info["name"], size, f"etag:{etag}")
    if isinstance(info.get("mtime"), float):  # the local file system; the same fingerprint as `_walk_disk` gives
        return _File(info["name"], size, f"{size}+{os.stat(info['name']).st_mtime_ns}")
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or ""
    return _File(info["name"], size, f"{size}+{changed}")
