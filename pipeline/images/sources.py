"""From sources (folders, globs, archives, tables, former outputs; local or any fsspec URL) to a stream of inputs."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass

from recast.pipeline import storage
from recast.pipeline.images import archives, inventories, parquet
from recast.pipeline.images.contents import read
from recast.pipeline.images.inputs import Input, readable
from recast.pipeline.images.listing import File, described, files
from recast.pipeline.output.index import INDEX, SHARDS, current, key_hashes
from recast.pipeline.storage import FileSystem, StorageError

DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Left behind by file managers; never an input."""
WILDCARDS = set("*?[")


class ClashError(StorageError):
    """Two inputs of one key: one would take the other's place in the output."""

    exit_status = 2


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the inputs come from, and which of them count."""

    urls: tuple[str, ...]
    """Each a folder, a glob, one image, a tar, a zip, a Parquet file of images, an inventory table (CSV or Parquet) or
    a former output; a local path or an fsspec URL."""
    include: tuple[str, ...] = ()
    """Globs over keys; where there are any, a key must match one."""
    exclude: tuple[str, ...] = ()
    """Globs over keys; a key that matches one is left out."""
    skip: str = ""
    """A URL below which nothing is an input: the output, where it lies inside the source."""

    def __str__(self) -> str:
        return ", ".join(self.urls)

    def admits(self, key: str) -> bool:
        if self.include and not any(fnmatch.fnmatchcase(key, p) for p in self.include):
            return False
        return not any(fnmatch.fnmatchcase(key, p) for p in self.exclude)


def inventory(source: Source) -> Iterator[Input]:
    """Every input of a source, in a fixed order. Archives are listed by their members, which are read where they lie.

    Raises:
        StorageError: no such source, no permission, an archive that can't be listed at all.
        ClashError: two inputs have one key. Raised before the first input comes.
    """
    if len(source.urls) > 1 or any(url.lower().endswith((*inventories.CSV, ".parquet")) for url in source.urls):
        _refuse_clashes(source)
    return _admitted(source)


def _admitted(source: Source) -> Iterator[Input]:
    for url in source.urls:
        fs, path = storage.filesystem(url)
        with storage.faults_as_sentences(f"listing {url}"):
            for item in _listed(fs, path, url, source.skip):
                if source.admits(item.key):
                    yield item


def _refuse_clashes(source: Source) -> None:
    """List everything once beforehand, at 8 bytes an input, and compare."""
    hashes = key_hashes(item.key for item in _admitted(source))
    hashes.sort()
    twice = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not twice:
        return
    first: dict[str, str] = {}
    for item in _admitted(source):
        if int(key_hashes([item.key])[0]) in twice and first.setdefault(item.key, item.source) is not item.source:
            raise ClashError(
                f"two inputs have the key {item.key}: {first[item.key]} and {item.source}; run them into outputs of "
                f"their own, leave one out with --exclude, or give a source further up, so that the keys differ"
            )


def _listed(fs: FileSystem, path: str, url: str, skip: str) -> Iterator[Input]:
    if WILDCARDS & set(path) and not fs.exists(path):
        yield from _expanded(fs, _fixed_part(path), _matches(fs, path, url), tables=True)
    elif fs.isfile(path):
        yield from _contained(fs, described(fs.info(path)))
    elif fs.isdir(path):
        if fs.isdir(storage.join(path, INDEX)) and fs.isdir(storage.join(path, SHARDS)):
            yield from _former(fs, path)
        else:
            yield from _expanded(fs, path, files(fs, path, _skipped(skip)), tables=False)
    else:
        raise StorageError(f"there is nothing at {url}: no such file, folder or archive")


def _contained(fs: FileSystem, file: File) -> Iterator[Input]:
    """What a file that was itself named as a source stands for; its inputs are keyed by their names in it."""
    if archives.is_archive(file.path):
        yield from archives.members(fs, file.path, prefix="")
    elif inventories.is_inventory(fs, file.path):
        yield from inventories.named(fs, file.path)
    elif file.path.lower().endswith(".parquet"):
        yield from parquet.rows(fs, file, prefix="")
    else:
        yield _input(fs, file, file.path.rpartition("/")[2])


def _expanded(fs: FileSystem, root: str, found: Iterator[File], *, tables: bool) -> Iterator[Input]:
    """Files below a root, keyed by their path there; archives among them by their members. One that can't be listed is
    an input itself, with its problem. Tables of URIs count only where a glob asks for them (`tables`).
    """
    for file in found:
        key = readable(file.path[len(root) :].lstrip("/"))
        try:
            if archives.is_archive(file.path):
                yield from archives.members(fs, file.path, prefix=f"{key}/")
            elif tables and file.path.lower().endswith((*inventories.CSV, ".parquet")):
                named = inventories.is_inventory(fs, file.path)
                yield from inventories.named(fs, file.path) if named else parquet.rows(fs, file, prefix=f"{key}/")
            elif file.path.lower().endswith(".parquet"):
                yield from parquet.rows(fs, file, prefix=f"{key}/")
            elif key.rpartition("/")[2] not in DROPPINGS:
                yield _input(fs, file, key)
        except (archives.NotAnArchiveError, parquet.NotATableError) as fault:
            yield _input(fs, file, key, problem=f"not-an-archive: {fault}")


def _input(fs: FileSystem, file: File, key: str, problem: str = "") -> Input:
    uri = storage.uri(fs, file.path)
    return Input(
        key=readable(key),
        source=readable(uri),
        fingerprint=file.fingerprint,
        holder=uri.encode("utf-8", "surrogateescape"),
        length=file.size,
        size=file.size,
        problem=problem,
    )


def _former(fs: FileSystem, output: str) -> Iterator[Input]:
    """The images of a former output, under the keys they have there. What failed or was held there has no image."""
    columns = ("key", "status", "shard", "member", "offset", "length", "sha256")
    view = current(fs, output, columns)
    for batch in view.to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            if row["status"] == "ok":
                url = storage.uri(fs, storage.join(output, SHARDS, row["shard"]))
                within = f"range://{row['offset']}+{row['length']}"
                if row["shard"].endswith(".tar"):
                    within = f"tar://{row['member']}"
                yield Input(
                    key=row["key"],
                    source=f"{within}::{readable(url)}",
                    fingerprint=f"sha256:{row['sha256']}",
                    sha256=row["sha256"],
                    holder=url.encode("utf-8", "surrogateescape"),
                    packing="range",
                    offset=row["offset"],
                    length=row["length"],
                    size=row["length"],
                )


def read_sources(uris: list[str], max_bytes: int = 1 << 30) -> Iterator[tuple[str, bytes]]:
    """The bytes that index rows' `source` names, as far as they are still there, in any order. An archive is listed
    once for all of its members.

    Raises:
        Fault, StorageError, OSError: what the first that can't be read is stopped by.
    """
    inside: dict[str, set[str]] = {}
    for uri in uris:
        if uri.startswith("range://"):
            within, holder = uri.removeprefix("range://").split("::", 1)
            offset, length = map(int, within.split("+"))
            fs, path = storage.filesystem(holder)
            yield uri, storage.read_bytes(fs, path, offset, length)
        elif "::" in uri:
            inside.setdefault(uri.split("::", 1)[1], set()).add(uri)
        else:
            fs, path = storage.filesystem(uri)
            yield uri, storage.read_bytes(fs, path)
    for holder, wanted in inside.items():
        fs, path = storage.filesystem(holder)
        for item in _contained(fs, described(fs.info(path))):
            if item.source in wanted:
                yield item.source, read(item, max_bytes)


def _skipped(url: str) -> str:
    return storage.filesystem(url)[1] if url else ""


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if WILDCARDS & set(part))
    return "/".join(parts[:first])


def _matches(fs: FileSystem, pattern: str, url: str) -> Iterator[File]:
    found = fs.glob(pattern, detail=True)
    matching = [described(info) for _, info in sorted(found.items()) if info["type"] == "file"]
    if not matching:
        raise StorageError(f"no file matches {url}")
    return iter(matching)
