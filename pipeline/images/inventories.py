"""Inventory tables: Parquet or CSV with the URI of an image in each row, for who has too many objects to list them."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.images.compressed import unpacked
from recast.pipeline.images.inputs import Input, readable
from recast.pipeline.images.listing import fingerprint
from recast.pipeline.images.parquet import image_column, opened_table
from recast.pipeline.storage import FileSystem, StorageError

URI_NAMES = ("uri", "url", "source", "path", "file_name")
ETAG_NAMES = ("etag", "e_tag")
CHANGED_NAMES = ("mtime", "last_modified", "last_modified_date")
CSV = (".csv", ".csv.gz", ".csv.zst")
UNCHANGING = "named"
"""The fingerprint of a row that says nothing of its image's content: a change of it goes unnoticed."""


def is_inventory(fs: FileSystem, path: str) -> bool:
    """Whether a file is a table of URIs. A Parquet file with a column of images is none."""
    if path.lower().endswith(CSV):
        return True
    if not path.lower().endswith(".parquet"):
        return False
    with storage.open_read(fs, path) as file:
        return image_column(opened_table(file, storage.uri(fs, path)).schema_arrow) is None


def named(fs: FileSystem, path: str) -> Iterator[Input]:
    """The inputs that a table names: by a column `uri` (or url, source, path, file_name), or by `bucket` and `key` as
    in S3 Inventory. `key`, `etag`, `size` and `last_modified` are used where they are there.

    Raises:
        StorageError: not a readable table, or no column of URIs.
    """
    url = storage.uri(fs, path)
    folder = url.rpartition("/")[0]
    for number, row in enumerate(_rows(fs, path, url)):
        yield _input(row, number, folder)


def _rows(fs: FileSystem, path: str, url: str) -> Iterator[Mapping[str, Any]]:
    if path.lower().endswith(".parquet"):
        with storage.open_read(fs, path) as file:
            table: pq.ParquetFile = opened_table(file, url)
            wanted = [n for n in table.schema_arrow.names if n in _COLUMNS]
            _check(wanted, url)
            for batch in table.iter_batches(batch_size=8192, columns=wanted, use_threads=False):
                yield from batch.to_pylist()
        return
    with io.TextIOWrapper(unpacked(fs, path), encoding="utf-8-sig", newline="") as text:
        try:
            reader = csv.DictReader(text)
            _check(reader.fieldnames or (), url)
            yield from reader
        except (csv.Error, UnicodeDecodeError) as fault:
            raise StorageError(f"{readable(url)} is not a readable CSV table: {fault}") from fault


_COLUMNS = {*URI_NAMES, "bucket", "key", "size", *ETAG_NAMES, *CHANGED_NAMES}


def _check(columns: Any, url: str) -> None:
    if not set(columns) & set(URI_NAMES) and not {"bucket", "key"} <= set(columns):
        raise StorageError(
            f"{readable(url)} names no images: it needs a column of URIs ({', '.join(URI_NAMES)}), "
            f"or bucket and key; it has {', '.join(columns) or 'none'}"
        )


def _input(row: Mapping[str, Any], number: int, folder: str) -> Input:
    given = _first(row, URI_NAMES)
    if given:
        uri = given if "://" in given else f"file://{given}" if given.startswith("/") else f"{folder}/{given}"
        key = _text(row.get("key")) or given.partition("://")[2] or given.lstrip("/")
    else:
        key = _text(row.get("key"))
        uri = f"s3://{_text(row.get('bucket'))}/{key}"
    size = _text(row.get("size"))
    return Input(
        key=key or f"(row {number})",
        source=readable(uri),
        fingerprint=_fingerprint(row, size),
        holder=uri.encode("utf-8", "surrogateescape"),
        packing="named",
        size=int(size) if size.isdecimal() else 0,
        problem=_problem(key),
    )


def _fingerprint(row: Mapping[str, Any], size: str) -> str:
    etag, changed = _first(row, ETAG_NAMES), _first(row, CHANGED_NAMES)
    if etag:
        return fingerprint(etag=etag)
    return fingerprint(int(size) if size.isdecimal() else 0, changed) if changed else UNCHANGING


def _problem(key: str) -> str:
    if not key:
        return "no-uri: the inventory's row names no image"
    if ".." in key.split("/"):
        return "unsafe-name: the name leads outside"
    return ""


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := _text(row.get(name)))), "")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
