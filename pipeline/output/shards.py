"""Shards in the making: images appended one by one, each one's place known, the whole put in storage at once.

Results as plain files come about in the same way: they wait until all of them can be put in their places.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.output import plain_files
from recast.pipeline.output.file_names import path_of
from recast.pipeline.output.rows import SCHEMA, Row, table
from recast.pipeline.storage import FileSystem

Packing = Literal["tar", "parquet"]
Container = Literal["tar", "parquet", "files"]
"""What results are put in: shards of one of two kinds, or files of their own."""
SOURCES = "recast.sources"
"""Says in a fragment's metadata that samples of its shard may tell where they were read from."""
BLOCK = 512
ROW_GROUP_BYTES = 16 << 20
"""Bytes of images in memory before they are written as a row group of a Parquet shard; readers take one at a time."""
IMAGE = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]), nullable=False)


class ScratchError(Exception):
    """The folder for temporary files can't be used; the message says which that is."""

    exit_status = 1


class Shard(Protocol):
    """What a worker fills. Used as a context manager: leaving without `commit` drops it."""

    images: int
    sha256: str
    """Digest of the whole shard, once it is committed; empty for plain files."""

    @property
    def length(self) -> int:
        """Bytes so far, about."""
        ...

    def add(self, row: Row, image: bytes, extension: str) -> None:
        """Append an image. `row.member`, `length` and `sha256` are set now, `offset` of a shard's at the latest by
        `commit`."""
        ...

    def commit(self, fs: FileSystem, path: str) -> int:
        """Put the finished shard at `path`, or the files below it. Returns the length in bytes."""
        ...

    def __enter__(self) -> "Shard": ...
    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def shard(container: Packing, *, sources: bool = False) -> Shard:
    """A shard to fill. With `sources`, a sample of a tar also says where its input was read from."""
    return TarShard(sources=sources) if container == "tar" else ParquetShard()


def member_name(key: str, extension: str) -> str:
    """A member's name for a key: readable, plain ASCII, one dot, and different for different keys.

    Readers that split names at the first dot (WebDataset) see one sample for each image, of the image and the `.json`
    beside it; none is merged or cut.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", key).strip("_")[-48:]
    return f"{plain}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.{extension}"


def shard_facts(name: str, size: int, sha256: str) -> dict[str, str]:
    """What a fragment's metadata says of its shard: a run compares the size, a check all of it."""
    return {"recast.shard": name, "recast.shard_bytes": str(size), "recast.shard_sha256": sha256}


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """Faults of the folder that shards grow in, which is not the output, told as what they are."""
    try:
        yield
    except OSError as fault:
        folder = os.environ.get("TMPDIR", "") or "/tmp"
        raise ScratchError(
            f"shards could not be put together in the scratch folder {folder}: {storage.sentence(fault)}; make room "
            "there, or set TMPDIR to a folder with room for a shard for each worker"
        ) from fault


class _Temporary:
    """A shard's file while it grows."""

    def __init__(self, suffix: str) -> None:
        with _scratch():
            self._file = tempfile.NamedTemporaryFile(prefix="recast-", suffix=suffix)  # noqa: SIM115  # closed by `__exit__`
        self.images, self.sha256 = 0, ""

    def _describe(self, row: Row, image: bytes, member: str) -> None:
        row.member, row.length = member, len(image)
        row.sha256 = hashlib.sha256(image).hexdigest()
        self.images += 1

    def _upload(self, fs: FileSystem, path: str) -> int:
        with _scratch():
            self._file.flush()
            self._file.seek(0)
            self.sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
        storage.upload(fs, self._file.name, path)
        return self._file.seek(0, io.SEEK_END)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class TarShard(_Temporary):
    """WebDataset's samples one after the other: an image file, and a `.json` with what its row says of it. The same
    rows and images make the same bytes: members have no time and no owner."""

    def __init__(self, *, sources: bool = False) -> None:
        super().__init__(".tar")
        self._sources, self._offset = sources, 0

    def __enter__(self) -> "TarShard":
        return self

    @property
    def length(self) -> int:
        return self._offset

    def add(self, row: Row, image: bytes, extension: str) -> None:
        self._describe(row, image, member_name(row.key, extension))
        row.offset = self._append(member_name(row.key, extension), image)
        self._append(member_name(row.key, "json"), sample_json(row, sources=self._sources))

    def _append(self, member: str, data: bytes) -> int:
        """Returns where in the archive the data begin."""
        info = tarfile.TarInfo(member)
        info.size, start = len(data), self._offset + BLOCK
        padding = -len(data) % BLOCK
        with _scratch():
            self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
            self._file.write(data)
            self._file.write(bytes(padding))
        self._offset = start + len(data) + padding
        return start

    def commit(self, fs: FileSystem, path: str) -> int:
        with _scratch():
            self._file.write(bytes(2 * BLOCK))  # the end of a tar archive
        return self._upload(fs, path)


def sample_json(row: Row, *, sources: bool) -> bytes:
    """What a sample of a tar says of itself, for readers that have no index beside them: `key`, `regions` (null where
    nobody looked; without what is not known of them), and with `sources` `source`. The same bytes whether the row is
    new or was read from an index, which keeps 32 bits of a number."""
    regions = None if row.regions is None else [_told(region) for region in row.regions]
    said = {"key": row.key, "regions": regions} | ({"source": row.source} if sources else {})
    return json.dumps(said).encode()


def _told(region: dict[str, Any]) -> dict[str, Any]:
    return {name: _in_32_bits(value) for name, value in region.items() if value is not None}


def _in_32_bits(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_32_bits(each) for each in value]
    return float(str(np.float32(value))) if isinstance(value, float) else value


class ParquetShard(_Temporary):
    """The index's rows with the image beside each, as Hugging Face's `datasets` has them: `image: {bytes, path}`.

    Where an image lies is known once it is written: so `offset` is null here, and stands in the fragment alone.

    Nothing is compressed, encoded by dictionary or summed up in statistics. So an image lies in the file as it is, for
    plain ranged reads, and a unit done twice gives shards of the same layout, whenever and by whichever run.
    """

    def __init__(self) -> None:
        super().__init__(".parquet")
        schema = SCHEMA.append(IMAGE)
        self._writer = pq.ParquetWriter(
            self._file, schema, compression="none", use_dictionary=False, write_statistics=False, store_schema=False
        )
        self._waiting: list[tuple[Row, bytes]] = []
        self._waiting_bytes = 0

    def __enter__(self) -> "ParquetShard":
        return self

    @property
    def length(self) -> int:
        return self._file.tell() + self._waiting_bytes

    def add(self, row: Row, image: bytes, extension: str) -> None:
        self._describe(row, image, member_name(row.key, extension))
        self._waiting.append((row, image))
        self._waiting_bytes += len(image)
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            with _scratch():
                self._write_group()

    def commit(self, fs: FileSystem, path: str) -> int:
        with _scratch():
            self._write_group()
            self._writer.close()
        return self._upload(fs, path)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a shard that is not committed may be given up because its disk is full
            self._writer.close()  # before its file: a writer left open complains, at some later time, that it can't be
        super().__exit__(kind, fault, trace)

    def _write_group(self) -> None:
        if not self._waiting:
            return
        rows, images = [row for row, _ in self._waiting], [image for _, image in self._waiting]
        pairs = pa.array([{"bytes": i, "path": r.member} for r, i in self._waiting], IMAGE.type)
        start = self._file.tell()
        self._writer.write_table(table(rows, {}).append_column(IMAGE, pairs), row_group_size=len(rows))
        self._file.flush()
        group = os.pread(self._file.fileno(), self._file.tell() - start, start)
        for row, place in zip(rows, _places(group, images), strict=True):
            row.offset = start + place
        self._waiting, self._waiting_bytes = [], 0


class PlainFiles(_Temporary):
    """Results that become files of their own, each under its input's key."""

    def __init__(self, confirm: plain_files.Confirm) -> None:
        super().__init__(".files")
        self._confirm, self._offset = confirm, 0
        self._members: list[tuple[str, int, int]] = []

    def __enter__(self) -> "PlainFiles":
        return self

    @property
    def length(self) -> int:
        return self._offset

    def add(self, row: Row, image: bytes, extension: str) -> None:
        assert row.format is not None, "it decides the file's ending"
        self._describe(row, image, member := path_of(row.key, row.format))
        with _scratch():
            self._file.write(image)
        self._members.append((member, self._offset, len(image)))
        self._offset += len(image)

    def commit(self, fs: FileSystem, path: str) -> int:
        with _scratch():
            self._file.flush()
        self._confirm()
        with ThreadPoolExecutor(plain_files.HANDS, "put") as pool:
            for _ in ahead(lambda place: self._put(fs, path, *place), self._members, pool, 2 * plain_files.HANDS):
                pass
        return self._offset

    def _put(self, fs: FileSystem, folder: str, member: str, offset: int, length: int) -> None:
        with _scratch():
            image = os.pread(self._file.fileno(), length, offset)
        plain_files.create(fs, folder, member, image, self._confirm)


def _places(group: bytes, images: list[bytes]) -> list[int]:
    """Where each image begins in a row group's bytes. Plain encoding: its length (4 bytes, little endian), then it."""
    places, place = [], 0
    for image in images:
        place = group.index(struct.pack("<I", len(image)) + image, place) + 4
        places.append(place)
    return places
