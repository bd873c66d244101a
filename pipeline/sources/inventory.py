"""From sources (folders, globs, archives, tables, previous outputs; local or any fsspec URL) to a stream of inputs."""

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from pydantic.dataclasses import dataclass as checked

from recast.pipeline import storage
from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import key_hashes
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.inputs import Input, unreadable
from recast.pipeline.sources.listing import described
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.sources.source_listing import SourceListing, contained
from recast.pipeline.storage import FileSystem, StorageError

READ_AGAIN = frozenset({"file", "memory", "s3", "gs", "az"})
"""Kinds of storage that an index may send a reader to."""


class ClashError(StorageError):
    """Two inputs of one key: one would take the other's place in the output."""

    exit_status = 2


class SourceIsOutputError(StorageError):
    """The results would lie among the inputs, and be inputs of the next run."""

    exit_status = 2


@documented
@checked(frozen=True, kw_only=True, config=CHECKED)
class Selection:
    """Which inputs of a source count. Each field is an option of the command line, with its docstring as help;
    `schemes` is called --allow-scheme."""

    include: tuple[str, ...] = ()
    """Take only inputs whose key matches this glob; may be given several times."""
    exclude: tuple[str, ...] = ()
    """Leave out inputs whose key matches this glob; may be given several times."""
    schemes: tuple[str, ...] = ()
    """A further kind of URI (s3, https, …) that an inventory may name besides its own kind; may be given several
    times."""


@dataclass(frozen=True, kw_only=True)
class Source(Selection):
    """Where the inputs come from, and which of them count."""

    urls: tuple[str, ...]
    """Each a folder, a glob, one image, a tar, a zip, a Parquet file of images, an inventory table (CSV or Parquet) or
    a previous output; a local path or an fsspec URL."""
    skip: str = ""
    """A URL below which nothing is an input: the output, where it lies inside the source."""

    def __str__(self) -> str:
        return ", ".join(self.urls)

    def admits(self, key: str) -> bool:
        if self.include and not any(fnmatch.fnmatchcase(key, p) for p in self.include):
            return False
        return not any(fnmatch.fnmatchcase(key, p) for p in self.exclude)


ListingOf = Callable[[str, str, Collection[str]], SourceListing]
"""Lists one URL of a source, beside the output and the kinds of URIs that tables may name."""


def inventory(source: Source, over: PassedOver | None = None, listing_of: ListingOf = SourceListing) -> Iterator[Input]:
    """Every input of a source, in a fixed order. Archives are listed by their members, which are read where they lie.

    Args:
        over: counts what is met and isn't taken.
        listing_of: for sources of other things than images.

    Raises:
        StorageError: no such source, no permission, an archive that can't be listed at all.
        ClashError, SourceIsOutputError: two inputs have one key, or a source is the output itself. Raised before the
            first input comes.
    """
    listings = [listing_of(url, source.skip, source.schemes) for url in source.urls]
    for listing in listings:
        if listing.is_output():
            raise SourceIsOutputError(
                f"the source {listing.url} lies where the results are to go, {source.skip}, and every run would take "
                "the results of the last one for inputs; choose another output (a folder inside the source will do)"
            )
    if len(listings) > 1 or any(listing.may_clash() for listing in listings):
        _refuse_clashes(source, listings)
    return _admitted(source, listings, over or PassedOver())


def _admitted(source: Source, listings: Sequence[SourceListing], over: PassedOver) -> Iterator[Input]:
    for listing in listings:
        with storage.faults_as_sentences(f"listing {listing.url}"):
            for item in listing.inputs(over):
                if source.admits(item.key):
                    yield item


def _refuse_clashes(source: Source, listings: Sequence[SourceListing]) -> None:
    """List everything once beforehand, at 8 bytes an input, and compare."""
    hashes = key_hashes(item.key for item in _admitted(source, listings, PassedOver()))
    hashes.sort()
    twice = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not twice:
        return
    first: dict[str, str] = {}
    for item in _admitted(source, listings, PassedOver()):
        if int(key_hashes([item.key])[0]) in twice and first.setdefault(item.key, item.source) is not item.source:
            raise ClashError(
                f"two inputs have the key {item.key}: {first[item.key]} and {item.source}; run them into outputs of "
                f"their own, leave one out with --exclude, or give a source further up, so that the keys differ"
            )


def read_sources(
    uris: Sequence[str], max_bytes: int = 1 << 30, allowed: Collection[str] = READ_AGAIN
) -> Iterator[tuple[str, bytes]]:
    """The bytes that index rows' `source` names, as far as they are still there, in any order. An archive is listed
    once for all of its members.

    Args:
        allowed: kinds of storage that are read (`storage.PLAIN`); the index may be a stranger's.

    Raises:
        InputError, StorageError, OSError: what the first that can't be read is stopped by.
    """
    inside: dict[str, set[str]] = {}
    for uri in uris:
        within, container = _parted(uri, allowed)
        if within.startswith("range://"):
            yield uri, _range(within, *_reopened(container, allowed), max_bytes)
        elif within:
            inside.setdefault(container, set()).add(uri)
        else:
            yield uri, storage.read_up_to(*_reopened(uri, allowed), max_bytes)
    for container, wanted in inside.items():
        fs, path = _reopened(container, allowed)
        for item in contained(fs, described(fs.info(path)), f"{container.partition('://')[0]}://"):
            if item.source in wanted:
                yield item.source, read(item, max_bytes)


_WITHIN = re.compile(r"(tar|zip|parquet|range)://")
_HOLDER = re.compile(r"::(?=[a-z][a-z0-9+.-]*://)")


def _parted(uri: str, allowed: Collection[str]) -> tuple[str, str]:
    """What names an image within a file, "" if it is the file; and the file's URI. Names of both may hold `::`."""
    if not _WITHIN.match(uri):
        return "", uri
    ways = [(uri[: found.start()], uri[found.end() :]) for found in _HOLDER.finditer(uri)]
    if not ways:
        raise StorageError(f"{uri} names no file that it lies in")
    sound = (way for way in ways if len(ways) == 1 or _is_file(way[1], allowed))
    return next(sound, ways[0])


def _is_file(uri: str, allowed: Collection[str]) -> bool:
    try:
        fs, path = _reopened(uri, allowed)
        return bool(fs.isfile(path))
    except StorageError:
        return False


def _reopened(uri: str, allowed: Collection[str]) -> tuple[FileSystem, str]:
    scheme, separator, _ = uri.partition("://")
    if not separator or storage.PLAIN.get(scheme) not in allowed:
        raise StorageError(f"{uri} is not read again: only files on {', '.join(sorted(allowed))} are")
    return storage.located(unreadable(uri))


def _range(within: str, fs: FileSystem, path: str, max_bytes: int) -> bytes:
    numbers = re.fullmatch(r"range://(\d{1,18})\+(\d{1,18})", within)
    if not numbers or int(numbers[2]) > max_bytes:
        raise InputError("corrupt", f"{within} is no range of bytes that is read")
    return storage.read_bytes(fs, path, int(numbers[1]), int(numbers[2]))
