"""Where further inputs of a network come from: another output, or a table, each by the keys of the images."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import SHARDS, current, place_of
from recast.pipeline.sources import parquet, previous_output, tables
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.further_inputs import Found, Provider
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.listing import File, described
from recast.pipeline.sources.number_rows import number_rows
from recast.pipeline.sources.provided_rows import (
    ProvidedRows,
    as_table,
    check_column,
    check_names,
    is_output,
    is_table,
    neither,
    schema_of,
    text_of,
)
from recast.pipeline.storage import FileSystem

MOST_BYTES = 1 << 30
"""The size of the largest image in a table that is read to know its content."""


def provider(each: NetworkInput, url: str, schemes: Collection[str] = (), *, alone: bool = False) -> Provider:
    """What gives one input of a network from a place: an output, or a table with `key` and a column of its name.

    Args:
        schemes: of URIs that a table may name beside those of its own.
        alone: the network takes no image that its points could be in; see `number_rows`.

    Raises:
        InputsError: the place is neither, or has nothing of the input's kind.
        StorageError: it can't be read.
    """
    if not each.has_pixels:
        return number_rows(each, url, alone=alone)
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        if is_table(fs, path):
            return _table(each, url, fs, described(fs.info(path)), schemes)
        if is_output(fs, path):
            return _ImagesOfOutput(each, url, fs, path)
    raise neither(each, url)


class _ImagesOfOutput(ProvidedRows):
    """Images or label maps of an output."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, path: str) -> None:
        self._fs, self._path, self._root = fs, path, storage.root(url)
        self._shards = storage.sizes(fs, storage.join(path, SHARDS))
        super().__init__(each, url, current(fs, path, previous_output.COLUMNS, whole=True))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if row["status"] != "ok":
            return self._missing(f"has a row for this key that is {row['status']}")
        if place_of(row) is None:
            return self._missing("has no image for this key")
        return self._place(previous_output.image(self._fs, self._path, self._root, row, self._shards))


def _table(each: NetworkInput, url: str, fs: FileSystem, file: File, schemes: Collection[str]) -> Provider:
    """By what the column of a table holds: names of files, or encoded images."""
    if file.path.lower().endswith(".parquet") and each.name in parquet.image_columns(schema_of(fs, file, url)):
        return _StoredImages(each, url, fs, file)
    return _NamedFiles(each, url, fs, file, schemes)


class _NamedFiles(ProvidedRows):
    """Files that a table names, as an inventory does."""

    COLUMNS = ("size", *tables.ETAG_NAMES, *tables.CHANGED_NAMES)

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File, schemes: Collection[str]) -> None:
        check_column(each, url, fs, file, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind))
        self._reader = tables.RowReader(fs, file, storage.root(url), schemes)
        found = tables.rows(fs, file, url, ("key", each.name, *self.COLUMNS), check_names(each))
        schema = pa.schema([(name, pa.string()) for name in ("key", "uri", *self.COLUMNS)])
        rows = (
            {"key": text_of(row["key"]), "uri": text_of(row[each.name])}
            | {name: text_of(row.get(name)) for name in self.COLUMNS}
            for row in found
        )
        super().__init__(each, url, as_table(rows, schema))

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["uri"]:
            return self._missing("names nothing for this key")
        place = self._reader.input(row, 0)
        found = self._place(place)
        return Found(fingerprint=f"{place.source} {place.fingerprint}", given=found.given)


class _StoredImages(ProvidedRows):
    """Encoded images in a column of a Parquet file. They are read once here, so that their fingerprints are digests of
    them: a table that is written anew changes those inputs alone whose images are others."""

    def __init__(self, each: NetworkInput, url: str, fs: FileSystem, file: File) -> None:
        self._column = parquet.image_columns(schema_of(fs, file, url))[each.name]
        self._container, self._root = file.path.encode("utf-8", "surrogateescape"), storage.root(url)
        found = tables.rows(fs, file, url, ("key",), lambda names, _: check_names(each)([*names, each.name], url))
        rows = ({"key": text_of(row["key"]), "row": n, "sha256": self._digest(n)} for n, row in enumerate(found))
        schema = pa.schema([("key", pa.string()), ("row", pa.int64()), ("sha256", pa.string())])
        super().__init__(each, url, as_table(rows, schema))

    def _digest(self, row: int) -> str:
        """The digest of an image's bytes; empty where there are none that could be read."""
        try:
            return hashlib.sha256(read(self._image(row), MOST_BYTES)).hexdigest()
        except InputError:
            return ""

    def _image(self, row: int, sha256: str = "") -> Input:
        return Input(
            key=f"(row {row})", source=f"parquet://{row}", fingerprint=f"sha256:{sha256}", sha256=sha256,
            root=self._root, container=self._container, layout="parquet", offset=row, column=self._column,
        )  # fmt: skip

    def _found(self, row: Mapping[str, Any]) -> Found:
        if not row["sha256"]:
            return self._missing("has no image for this key that could be read")
        return self._place(self._image(row["row"], row["sha256"]))
