"""A fragment as bytes: one Parquet file that tells when a bit of it has changed, and that is believed in nothing."""

import hashlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline.output.file_names import all_safe
from recast.pipeline.output.lease import MAX_EPOCH
from recast.pipeline.output.rows import SCHEMA

MAX_BYTES = 1 << 30
MAX_UNPACKED_BYTES = 4 << 30
MAX_ROWS = 1 << 26
EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, as Python counts."""
STATUSES = ("ok", "failed", "held")
MAGIC = b"recast:sha256\n\0\0"
"""Before the digest that lies between a fragment's last page and its footer, where readers of Parquet do not look."""
SEALED = "recast.checksum"
"""Metadata by which a fragment says that it has such a digest."""
CHECKED = ("key", "status", "shard", "offset", "length", "member", "epoch")
"""Columns that are read, whichever are asked for, since what they say is checked."""


class DamageError(Exception):
    """A fragment that isn't as it was written, or that says what no fragment may say."""

    exit_status = 1


def encoded(rows: pa.Table) -> bytes:
    """The bytes of a fragment: its pages have checksums, and all of it a digest."""
    data = io.BytesIO()
    about = {**(rows.schema.metadata or {}), SEALED: "sha256"}
    pq.write_table(rows.replace_schema_metadata(about), data, compression="zstd", write_page_checksum=True)
    pages, footer = _split(data.getvalue())
    return pages + MAGIC + _digest(pages, footer) + footer


def decoded(data: bytes, name: str, columns: Sequence[str]) -> tuple[pa.Table, dict[str, str]]:
    """Some columns of a fragment, and its metadata. Columns that its version lacks are null, and `epoch` is 0.

    Raises:
        DamageError: with what is wrong, whatever that is.
    """
    try:
        sealed = _check_digest(data)
        rows = _read(data, needed := tuple(dict.fromkeys((*columns, *CHECKED))))
        about = {k.decode(): v.decode() for k, v in (rows.schema.metadata or {}).items()}
        if SEALED in about and not sealed:
            raise DamageError("the fragment is damaged: its checksum is missing")
        rows = _completed(_typed(rows), needed)
        _check_values(rows, about, name.rpartition(".")[0])
    except DamageError:
        raise
    except Exception as fault:  # whatever a reader of Parquet makes of bytes that aren't, or that hostile hands made
        raise DamageError(f"the fragment is damaged: {(str(fault) or type(fault).__name__).splitlines()[0]}") from fault
    return rows.select(list(columns)), about


def _split(data: bytes) -> tuple[bytes, bytes]:
    """A Parquet file's pages, and its footer with the length and the mark behind it."""
    length = 8 + int.from_bytes(data[-8:-4], "little")
    if length > len(data):
        return data, b""
    return data[:-length], data[-length:]


def _digest(pages: bytes, footer: bytes) -> bytes:
    return hashlib.sha256(pages + footer).digest()


def _check_digest(data: bytes) -> bool:
    """Whether there is a digest, which then is right. Fragments of before it existed have none."""
    pages, footer = _split(data)
    pages, digest = pages[:-32], pages[-32:]
    if not pages.endswith(MAGIC):
        return False
    if _digest(pages.removesuffix(MAGIC), footer) != digest:
        raise DamageError("the fragment is damaged: its bytes don't match their checksum")
    return True


def _read(data: bytes, columns: Sequence[str]) -> pa.Table:
    facts = pq.read_metadata(io.BytesIO(data))
    _check_size(facts)
    # By this thread alone: with Arrow's own threads at work, a process that ends soon after may abort (pyarrow 26).
    file = pq.ParquetFile(
        io.BytesIO(data), metadata=facts, pre_buffer=False, page_checksum_verification=True,
        read_dictionary=_repetitive(facts),
    )  # fmt: skip
    known = set(file.schema_arrow.names)
    present = [name for name in columns if name in known]
    return file.read(columns=present, use_threads=False)


def _check_size(facts: pq.FileMetaData) -> None:
    """Bounds for what reading may take, by what the footer says."""
    if facts.num_rows > MAX_ROWS or facts.num_row_groups > MAX_ROWS:
        raise DamageError(f"the fragment claims {facts.num_rows:,} rows; {MAX_ROWS:,} is the most")
    if _unpacked_bytes(facts) > MAX_UNPACKED_BYTES:
        raise DamageError(f"the fragment unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")


def _unpacked_bytes(facts: pq.FileMetaData) -> int:
    # Not by column chunk: asked for one that a damaged footer speaks of, pyarrow 26 aborts the process.
    return sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups))


def _repetitive(facts: pq.FileMetaData) -> list[str]:
    """Columns of texts to be read as numbers in a dictionary, where they could be far more than the file has: many rows
    may name one long text."""
    if facts.num_rows * _unpacked_bytes(facts) <= MAX_UNPACKED_BYTES:
        return []
    return [field.name for field in SCHEMA if pa.types.is_string(field.type)]


def _typed(rows: pa.Table) -> pa.Table:
    """The columns in the types of this version; those that it lacks added."""
    rows.validate(full=True)
    for place, name in enumerate(rows.column_names):
        field = SCHEMA.field(name)
        if pa.types.is_dictionary(rows.schema.field(name).type):
            _check_unpacked(rows[name])
        if not pa.types.is_nested(field.type) and rows.schema.field(name).type != field.type:
            rows = rows.set_column(place, name, rows[name].cast(field.type))
        if not field.nullable and rows[name].null_count:
            raise DamageError(f"the fragment has rows without {name}")
    return rows


def _check_unpacked(column: pa.ChunkedArray) -> None:
    for chunk in column.chunks:
        lengths = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
        if (pc.sum(lengths).as_py() or 0) > MAX_UNPACKED_BYTES:
            raise DamageError(f"the fragment unpacks to more than {MAX_UNPACKED_BYTES:,} bytes")


def _completed(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The columns that were asked for; such as later versions added are null in older fragments, the epoch 0."""
    for name in columns:
        if name not in rows.column_names:
            field = SCHEMA.field(name)
            if not field.nullable and name != "epoch":
                raise DamageError(f"the fragment has no column {name}")
            empty = pa.nulls(len(rows), field.type) if field.nullable else pa.array(np.zeros(len(rows), np.int64))
            rows = rows.append_column(name, empty)
    return rows.select(list(columns))


def _check_values(rows: pa.Table, about: Mapping[str, str], stem: str) -> None:
    """What no honest writer says: other fragments' shards, places outside of the shard, epochs from nowhere."""
    own, named = {f"{stem}.tar", f"{stem}.parquet"}, about.get("recast.shard")
    shards = set(pc.unique(rows["shard"]).drop_null().to_pylist()) | ({named} if named is not None else set())
    if not shards <= own or len(shards) > 1 or (shards and named is None):
        raise DamageError("the fragment is damaged: it names shards that are not its own")
    size = int(about["recast.shard_bytes"]) if named is not None else None
    inside = rows.filter(pc.is_valid(rows["shard"]))
    offset, length = inside["offset"], inside["length"]
    if offset.null_count or length.null_count:
        raise DamageError("the fragment is damaged: it doesn't say where its images lie")
    least = min(pc.min(offset).as_py() or 0, pc.min(length).as_py() or 0)
    end = pc.max(pc.add_checked(offset, length)).as_py() or 0
    if least < 0 or (size is not None and end > size):
        raise DamageError("the fragment is damaged: it places images outside of its shard")
    _check_files(rows.filter(pc.is_null(rows["shard"])))
    if not set(pc.unique(rows["status"]).to_pylist()) <= set(STATUSES):
        raise DamageError("the fragment is damaged: it has rows of an unknown status")
    if "finished_at" in rows.column_names:
        times = pc.min_max(rows["finished_at"].cast(pa.int64())).as_py()
        if not EARLIEST_US <= (times["min"] or 0) <= (times["max"] or 0) <= LATEST_US:
            raise DamageError("the fragment is damaged: it has times that no calendar has")
    epochs = pc.min_max(rows["epoch"]).as_py()
    if not 0 <= (epochs["min"] or 0) <= (epochs["max"] or 0) <= MAX_EPOCH:
        raise DamageError("the fragment is damaged: its epochs are out of range")


def _check_files(rows: pa.Table) -> None:
    """What no honest writer says of rows whose bytes lie in no shard: files of no name, or outside of their folder."""
    files = rows.filter(pc.is_valid(rows["length"]))
    if pc.any(pc.is_valid(rows["offset"])).as_py() or files["member"].null_count:
        raise DamageError("the fragment is damaged: it doesn't say where its images lie")
    if (pc.min(files["length"]).as_py() or 0) < 0 or not all_safe(files["member"]):
        raise DamageError("the fragment is damaged: it names files that no result can have")
