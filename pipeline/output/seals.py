"""Sealed originals where they lie: a Parquet table beside each shard, of the same name, and the lock to all of them."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recast.pipeline import storage
from recast.pipeline.output.index import fragments
from recast.pipeline.storage import FileSystem

SEALS = "seals"
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("box", pa.list_(pa.int32()), nullable=False),
        pa.field("sealed", pa.binary(), nullable=False),
    ]
)
"""`key`: of the index's row. `box`: left, top, right, bottom of what was replaced; empty: the image's name is sealed.
`sealed`: see docs/deidentify.md."""


def write_seals(fs: FileSystem, output: str, stem: str, seals: Sequence[dict[str, Any]]) -> None:
    """Put the seals of one shard in place; before its fragment, like the shard itself."""
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(seals), SCHEMA), data, compression="none")
    storage.write_bytes(fs, _path(output, stem), data.getvalue())


def read_seals(fs: FileSystem, output: str, stem: str, keys: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """One shard's seals, of these keys or of all; none where nothing was sealed.

    Raises:
        StorageError: the table is damaged.
    """
    try:
        data = storage.read_bytes(fs, _path(output, stem))
    except FileNotFoundError:
        return []
    try:
        table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
        if keys is not None:
            table = table.filter(pc.is_in(table["key"], pa.array(list(keys), pa.string())))
        return table.select(SCHEMA.names).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as fault:
        raise storage.StorageError(f"{SEALS}/{stem}.parquet is damaged, and what it seals is lost") from fault


def remove_seals(fs: FileSystem, output: str, stem: str) -> None:
    storage.remove(fs, _path(output, stem))


def sealed_stems(fs: FileSystem, output: str) -> list[str]:
    """The names, without ending, of all shards that something is sealed of."""
    names = storage.sizes(fs, storage.join(output, SEALS))
    return [name.removesuffix(".parquet") for name in names if name.endswith(".parquet")]


def sealed_there(fs: FileSystem, output: str) -> str:
    """What is sealed in an output, in words; empty where nothing is, by its seals and by what its index says."""
    if stems := sealed_stems(fs, output):
        return f"{SEALS}/ holds {len(stems):,} table{'s' if len(stems) > 1 else ''} of what is sealed"
    if any(seals_of(fragment.about) for fragment in fragments(fs, output, [])):
        return "its index says that originals or names were sealed"
    return ""


def seals_of(about: Mapping[str, str]) -> frozenset[str]:
    """What a fragment's metadata says was sealed of its images: `originals`, `names`, both or nothing."""
    settings = json.loads(about.get("recast.settings") or "{}")
    said = {"originals": settings.get("seal") is True, "names": settings.get("names") == "hmac"}
    return frozenset(name for name, sealed in said.items() if sealed)


def painted_there(fs: FileSystem, output: str, actions: Iterable[str]) -> bool:
    """Whether rows of an output tell of regions that were replaced in one of these ways."""
    wanted = pa.array(list(actions), pa.string())
    for fragment in fragments(fs, output, ["regions"]):
        if fragment.rows is not None and len(fragment.rows):
            found = pc.struct_field(pc.list_flatten(fragment.rows["regions"]), "action")
            if pc.any(pc.is_in(found, wanted)).as_py():
                return True
    return False


def _path(output: str, stem: str) -> str:
    return storage.join(output, SEALS, f"{stem}.parquet")
