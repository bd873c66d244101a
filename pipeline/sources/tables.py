"""Inventory tables: Parquet or CSV with the URI of an image in each row, for who has too many objects to list them.

A stranger may have written one. So a row's URI is never more than a name: of one file, on storage that the user meant.
"""

import contextlib
import csv
import io
import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from recast.pipeline import storage
from recast.pipeline.sources.compressed import is_damage, unpacked
from recast.pipeline.sources.inputs import Input, readable
from recast.pipeline.sources.listing import File, fingerprint
from recast.pipeline.sources.parquet import batches, image_column, opened_table
from recast.pipeline.storage import FileSystem, StorageError

URI_NAMES = ("uri", "url", "source", "path", "file_name")
ETAG_NAMES = ("etag", "e_tag")
CHANGED_NAMES = ("mtime", "last_modified", "last_modified_date")
CSV = (".csv", ".csv.gz", ".csv.zst")
UNCHANGING = "named"
"""The fingerprint of a row that says nothing of its image's content: a change of it goes unnoticed."""
LONGEST_ROW = 1 << 20
"""Characters of a CSV row."""
LONGEST_URI = 1 << 14
MOST_DIGITS = 18
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
METADATA_HOSTS = {"metadata", "metadata.google.internal", "instance-data"}


def is_inventory(fs: FileSystem, file: File) -> bool:
    """Whether a file is a table of URIs. A Parquet file with a column of images is none."""
    if file.path.lower().endswith(CSV):
        return True
    if not file.path.lower().endswith(".parquet"):
        return False
    with storage.open_read(fs, file.path) as opened:
        return image_column(opened_table(opened, file.size, storage.uri(fs, file.path)).schema_arrow) is None


def named(fs: FileSystem, file: File, *, root: str, schemes: Iterable[str] = ()) -> Iterator[Input]:
    """The inputs that a table names: by a column `uri` (or url, source, path, file_name), or by `bucket` and `key` as
    in S3 Inventory. `key`, `etag`, `size` and `last_modified` are used where they are there.

    Args:
        root: what gives the table's file system again (`storage.root`).
        schemes: of URIs that are read beside those of the table's own scheme.

    Raises:
        StorageError: not a readable table, or no column of URIs.
    """
    url = storage.uri(fs, file.path)
    reader = RowReader(fs, file, root, schemes)
    for number, row in enumerate(rows(fs, file, url, _COLUMNS, _check)):
        yield reader.input(row, number)


def rows(
    fs: FileSystem, file: File, url: str, columns: Collection[str], check: Callable[[Sequence[str], str], None]
) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, one after the other; of a Parquet file those of the columns that it has.

    Args:
        check: is given the names of the columns and the URL, and raises where they don't do.

    Raises:
        StorageError: it can't be read.
    """
    if file.path.lower().endswith(".parquet"):
        with storage.open_read(fs, file.path) as opened:
            table = opened_table(opened, file.size, url)
            wanted = [n for n in table.schema_arrow.names if n in columns]
            check(wanted, url)
            for batch in batches(opened, file.size, table, wanted, url):
                yield from _listed(batch, url)
        return
    with io.TextIOWrapper(unpacked(fs, file.path), encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = _Lines(text)
        try:
            reader = csv.DictReader(lines)
            check(reader.fieldnames or (), url)
            for row in reader:
                lines.begin()
                yield row
        except Exception as fault:
            if not (isinstance(fault, csv.Error) or is_damage(fault)):
                raise
            raise StorageError(f"{readable(url)} is not a readable CSV table: {fault}") from fault


def _listed(batch: Any, url: str) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except Exception as fault:  # whatever Python's types can't hold: text that isn't UTF-8, dates of other ages
        raise StorageError(f"{readable(url)} is damaged: {str(fault).partition(chr(10))[0]}") from fault


class _Lines:
    """The lines of a text; none, and no row of several, is longer than a row may be."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._row = text, 0

    def begin(self) -> None:
        """Another row begins."""
        self._row = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_ROW + 1)
        self._row += len(line)
        if self._row > LONGEST_ROW:
            raise csv.Error(f"a row of more than {LONGEST_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


_COLUMNS = {*URI_NAMES, "bucket", "key", "size", *ETAG_NAMES, *CHANGED_NAMES}


def _check(columns: Sequence[str], url: str) -> None:
    if not set(columns) & set(URI_NAMES) and not {"bucket", "key"} <= set(columns):
        names = ", ".join(str(column)[:80] for column in list(columns)[:20])
        raise StorageError(
            f"{readable(url)} names no images: it needs a column of URIs ({', '.join(URI_NAMES)}), "
            f"or bucket and key; it has {names or 'none'}"
        )


class RowReader:
    """Reads the rows of one table, which may name what lies beside it, or on storage that is allowed."""

    def __init__(self, fs: FileSystem, file: File, root: str, schemes: Iterable[str]) -> None:
        self._fs, self._folder, self._root = fs, file.path.rpartition("/")[0], root
        self._own = "file" if storage.is_local(fs) else storage.PLAIN.get(root.split("://", 1)[0], "")
        self._own = "" if "::" in root else self._own
        self._schemes = {self._own, *(storage.PLAIN.get(scheme, scheme) for scheme in schemes)} - {""}

    def input(self, row: Mapping[str, Any], number: int) -> Input:
        """The image that a row names."""
        given = _first(row, URI_NAMES)
        if given:
            key = _text(row.get("key")) or given.partition("://")[2] or given.lstrip("/")
        else:
            key, bucket = _text(row.get("key")), _text(row.get("bucket"))
            given = f"s3://{bucket}/{key}" if bucket and key else ""
        uri = f"file://{given}" if given.startswith("/") else given
        problem = self._problem(key, uri) if given else "no-uri: the inventory's row names no image"
        size = _size(row.get("size"))
        root, container = (self._root, "") if problem else self._place(uri)
        return Input(
            key=readable(key[:LONGEST_URI]) or f"(row {number})",
            source=readable((uri if "://" in uri else storage.uri(self._fs, f"{self._folder}/{uri}"))[:LONGEST_URI]),
            fingerprint=_fingerprint(row, size),
            root=root,
            container=container.encode("utf-8", "surrogateescape"),
            layout="named",
            size=size,
            problem=problem,
        )

    def _place(self, uri: str) -> tuple[str, str]:
        """What gives the file system of a row's file, and the path there."""
        scheme, separator, path = uri.partition("://")
        if not separator:
            return self._root, storage.join(self._folder, uri)
        if storage.PLAIN.get(scheme) in ("file", "s3"):
            return (self._root if storage.PLAIN[scheme] == self._own else f"{storage.PLAIN[scheme]}://"), path
        return uri, ""

    def _problem(self, key: str, uri: str) -> str:
        """Why a row is not followed."""
        if len(uri) > LONGEST_URI:
            return f"unsafe-name: a name of {len(uri):,} characters"
        path = uri.partition("://")[2] or uri
        if problem := unsafe_name(key, path, unquote(path), unquote(unquote(path))):
            return problem
        if "://" not in uri:
            return ""
        scheme = uri.partition("://")[0]
        if storage.PLAIN.get(scheme, scheme) not in self._schemes:
            own = f"{self._own}://" if self._own else "names beside it"
            return (
                f"unsupported: the row names {_shown(scheme)}://, and of this inventory only {own} is read; give "
                f"--allow-scheme {_shown(scheme)} if that is meant"
            )
        if storage.PLAIN.get(scheme) == "http" and is_link_local(uri):
            return "unsafe-name: the address is one of this machine's surroundings (link-local)"
        return ""


def unsafe_name(*names: str) -> str:
    """Why what a table says, which may be written by a stranger, is no name to go by; empty where it is one."""
    if any(map(CONTROL.search, names)):
        return "unsafe-name: the name holds control characters"
    if any(".." in re.split(r"[/\\]", name) for name in names):
        return "unsafe-name: the name leads outside"
    return ""


def is_link_local(url: str, *, resolve: bool = False) -> bool:
    """Whether a URL's host is a link-local address, where clouds answer with credentials.

    Args:
        resolve: look at the addresses of a host's name, too.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return True
    if host in METADATA_HOSTS:
        return True
    texts = [host]
    with contextlib.suppress(OSError, ValueError):
        texts.append(socket.inet_ntoa(socket.inet_aton(host)))  # 2852039166 and 0xa9.0xfe.0xa9.0xfe are addresses
    if resolve:
        texts += [str(found[4][0]) for found in socket.getaddrinfo(host, port)]
    return any(map(_is_link_local, texts))


def _is_link_local(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_link_local or bool(mapped and mapped.is_link_local)


def _shown(text: str) -> str:
    return readable(text)[:40]


def _fingerprint(row: Mapping[str, Any], size: int) -> str:
    etag, changed = _first(row, ETAG_NAMES), _first(row, CHANGED_NAMES)
    if etag:
        return fingerprint(etag=readable(etag))
    return fingerprint(size, readable(changed)) if changed else UNCHANGING


def _size(value: Any) -> int:
    text = _text(value)
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := _text(row.get(name)))), "")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
