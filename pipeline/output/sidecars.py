"""Sidecar rows: what belongs to an image and is no column of the index, in a Parquet table beside each shard.

`OUTPUT/<kind>/<shard>.parquet` is written before the shard's fragment, and lives as long as the rows of its keys.
"""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

SEALS, LATENTS = "seals", "latents"
KINDS: Mapping[str, pa.Schema] = MappingProxyType(
    {
        SEALS: pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("box", pa.list_(pa.int32()), nullable=False),
                pa.field("sealed", pa.binary(), nullable=False),
            ]
        ),
        LATENTS: pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("latent", pa.list_(pa.float32()), nullable=False),
                pa.field("shape", pa.list_(pa.int32()), nullable=False),
            ]
        ),
    }
)
"""Their columns by kind, which is the name of their folder. `key` is the index row's.

`seals`: what was replaced. `box` is left, top, right, bottom; empty: the image's name is sealed. `sealed`: see
docs/deidentify.md. `latents`: where a generator has the image, `latent` row by row, of that `shape`.
"""


def write_sidecars(fs: FileSystem, output: str, kind: str, stem: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put one shard's rows of a kind in place; before its fragment, like the shard itself."""
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), KINDS[kind]), data, compression="none")
    storage.write_bytes(fs, _path(output, kind, stem), data.getvalue())


def read_sidecars(
    fs: FileSystem, output: str, kind: str, stem: str, keys: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """One shard's rows of a kind, of these keys or of all; none where the shard has none.

    Raises:
        StorageError: the table is damaged.
    """
    try:
        data = storage.read_bytes(fs, _path(output, kind, stem))
    except FileNotFoundError:
        return []
    try:
        table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
        if keys is not None:
            table = table.filter(pc.is_in(table["key"], pa.array(list(keys), pa.string())))
        return table.select(KINDS[kind].names).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as fault:
        raise storage.StorageError(f"{kind}/{stem}.parquet is damaged, and what it holds is lost") from fault


def remove_sidecars(fs: FileSystem, output: str, stem: str, kinds: Collection[str] = tuple(KINDS)) -> None:
    """Remove what lies beside one shard."""
    for kind in kinds:
        storage.remove(fs, _path(output, kind, stem))


def stems_with_sidecars(fs: FileSystem, output: str, kind: str) -> list[str]:
    """The names, without ending, of all shards that have rows of a kind beside them."""
    names = storage.sizes(fs, storage.join(output, kind))
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def _path(output: str, kind: str, stem: str) -> str:
    return storage.join(output, kind, f"{stem}.parquet")
