"""One source as a person typed it, and what is listed of it: a folder, a glob, a file that holds images, an output."""

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

from recast.pipeline import storage
from recast.pipeline.output import plain_files
from recast.pipeline.output.index import DAMAGED, FILES, INDEX, RUNS, SHARDS
from recast.pipeline.places import below, place, same
from recast.pipeline.sources import archives, parquet, passed_over, previous_output, tables
from recast.pipeline.sources.inputs import Input, Keys, readable
from recast.pipeline.sources.listing import File, described, files
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import FileSystem, StorageError

WILDCARDS = set("*?[")
OUTPUT_FOLDERS = {INDEX, SHARDS, RUNS, DAMAGED, "seals"}
TABLES = (*tables.CSV, ".parquet")


class SourceListing:
    """What is listed of one source.

    Raises:
        StorageError: when it is made, if the URL's storage can't be used.
    """

    def __init__(self, url: str, output: str = "", schemes: Collection[str] = ()) -> None:
        self.url, self._schemes = url, schemes
        self._fs, self._pattern = storage.filesystem(url)
        self._root = storage.root(url)
        self._output_at = storage.filesystem(output or url)
        self._output = place(*self._output_at) if output else None
        with storage.faults_as_sentences(f"listing {url}"):
            self._is_glob = bool(WILDCARDS & set(self._pattern)) and not self._fs.exists(self._pattern)
        self._path = _fixed_part(self._pattern) if self._is_glob else self._pattern

    def is_output(self) -> bool:
        """Whether it is the output, or lies in a folder of the output that only Recast writes to."""
        here = place(self._fs, self._path)
        if self._output is None:
            return False
        folder = below(here, self._output).split("/")[0]
        own = folder in OUTPUT_FOLDERS or (folder == FILES and plain_files.is_ours(*self._output_at))
        return own or same(here, self._output)

    def may_clash(self) -> bool:
        """Whether two inputs of this source may have one key: a table names what it likes, and an object store can
        hold `x.png` and `/x.png` below one prefix.
        """
        with storage.faults_as_sentences(f"listing {self.url}"):
            if self._is_glob:
                return any(_is_table(path) or path[len(self._path) :].startswith("//") for path in self._found)
            if _is_table(self._path):
                return True
            bucket, _, prefix = self._path.partition("/")
            if "s3" not in self._fs.protocol:
                return False
            doubled = f"{prefix}//" if prefix else "/"
            return bool(self._fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=doubled, MaxKeys=1).get("Contents"))

    def inputs(self, over: PassedOver) -> Iterator[Input]:
        """Every input, in a fixed order. What becomes none is counted."""
        fs, path = self._fs, self._path
        if self._is_glob:
            yield from self._expanded(self._matches(over), over)
        elif fs.isfile(path):
            yield from contained(fs, described(fs.info(path)), self._root, schemes=self._schemes, over=over)
        elif not fs.isdir(path):
            raise StorageError(f"there is nothing at {self.url}: no such file, folder or archive")
        elif previous_output.is_output(fs, path):
            yield from previous_output.images(fs, path, self._root, over)
        else:
            inside = below(self._output, place(fs, path)) if self._output else ""
            yield from self._expanded(files(fs, path, storage.join(path, inside) if inside else "", over), over)

    @cached_property
    def _found(self) -> dict[str, dict[str, Any]]:
        """What the glob matches."""
        return dict(sorted(self._fs.glob(self._pattern, detail=True).items()))

    def _matches(self, over: PassedOver) -> Iterator[File]:
        if not self._found:
            raise StorageError(f"no file matches {self.url}")
        for path, info in self._found.items():
            if info["type"] != "file":
                over.add(passed_over.FOLDER if info["type"] == "directory" else passed_over.SPECIAL)
            elif self._output is None or not below(place(self._fs, path), self._output):
                yield described(info)

    def _expanded(self, found: Iterator[File], over: PassedOver) -> Iterator[Input]:
        """Files below the path, keyed by their path there; archives among them by what they hold. One that can't be
        listed is an input itself, with its problem. Tables of URIs count only where a glob asks for them.
        """
        shared = _SharedFolders(self._fs)
        for file in found:
            name = file.path[len(self._path) :].lstrip("/")
            table = (
                self._is_glob
                and _is_table(name)
                and passed_over.reason(name) not in (passed_over.DROPPING, passed_over.OUTPUT)
            )
            if not (table or over.takes(name)):
                continue
            key = shared.own(readable(name), file.path)
            try:
                if table and tables.is_inventory(self._fs, file):
                    yield from tables.named(self._fs, file, root=self._root, schemes=self._schemes)
                elif name.lower().endswith(".parquet"):
                    keys = shared.keys(f"{key}/", file.path)
                    yield from parquet.rows(self._fs, file, f"{key}/", root=self._root, keys=keys)
                elif archives.is_archive(name):
                    keys = shared.keys(f"{key}/", file.path)
                    yield from archives.members(self._fs, file.path, f"{key}/", root=self._root, over=over, keys=keys)
                else:
                    yield _input(self._fs, file, key, self._root)
            except parquet.NoImagesError as fault:
                if over.takes_table():
                    yield _input(self._fs, file, key, self._root, problem=f"{passed_over.TABLE}: the file {fault.why}")
            except (archives.NotAnArchiveError, parquet.NotATableError) as fault:
                yield _input(self._fs, file, key, self._root, problem=f"not-an-archive: the file {fault.why}")


class _SharedFolders:
    """Keys of archives that an object store also holds a "folder" of: `a.zip` beside `a.zip/x.png`. On a disk there are
    none."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs, self._sorted = fs, "s3" in fs.protocol
        self._archives: list[tuple[str, str, Keys]] = []

    def keys(self, prefix: str, path: str) -> Keys:
        """For the members of an archive."""
        keys = Keys()
        if not storage.is_local(self._fs) and (self._sorted or self._fs.isdir(path)):
            self._archives.append((prefix, path, keys))
        return keys

    def own(self, key: str, path: str) -> str:
        """A file's key, or another one where an archive's member has it."""
        if self._sorted:
            self._archives = [held for held in self._archives if path < f"{held[1]}0"]  # "0" comes behind "/"
        for prefix, _, keys in self._archives:
            if key.startswith(prefix):
                return prefix + keys.own(key.removeprefix(prefix))[0]
        return key


def contained(
    fs: FileSystem, file: File, root: str, *, schemes: Collection[str] = (), over: PassedOver | None = None
) -> Iterator[Input]:
    """What a file that was itself named as a source stands for; its inputs are keyed by their names in it."""
    if archives.is_archive(file.path):
        yield from archives.members(fs, file.path, "", root=root, over=over)
    elif tables.is_inventory(fs, file):
        yield from tables.named(fs, file, root=root, schemes=schemes)
    elif file.path.lower().endswith(".parquet"):
        yield from parquet.rows(fs, file, "", root=root)
    else:
        yield _input(fs, file, readable(file.path.rpartition("/")[2]), root)


def _input(fs: FileSystem, file: File, key: str, root: str, problem: str = "") -> Input:
    return Input(
        key=key,
        source=readable(storage.uri(fs, file.path, root)),
        fingerprint=file.fingerprint,
        root=root,
        container=file.path.encode("utf-8", "surrogateescape"),
        length=file.size,
        size=file.size,
        problem=problem,
    )


def _is_table(path: str) -> bool:
    return path.lower().endswith(TABLES)


def _fixed_part(pattern: str) -> str:
    """The folder above the first wildcard."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if WILDCARDS & set(part))
    return "/".join(parts[:first])
