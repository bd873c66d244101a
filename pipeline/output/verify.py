"""Re-check what an output claims: every ok row's bytes against its sha256, every shard against its fragment."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from recast.pipeline import storage
from recast.pipeline.images.decode import decode
from recast.pipeline.images.faults import Fault
from recast.pipeline.output.index import INDEX, SHARDS, current, fragments, mark_damaged
from recast.pipeline.storage import FileSystem

COLUMNS = ("key", "status", "shard", "offset", "length", "sha256", "width", "height")
MAX_PIXELS = 2**40
"""Results may be as large as they are; the limit on inputs was kept when they were made."""


@dataclass(slots=True)
class Verdict:
    """What a check found; sound if there are no faults."""

    rows: int = 0
    ok: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    marked: int = 0
    """Shards whose fragments were marked as damaged, for a run to do again."""


def verify(url: str, threads: int = 8) -> Verdict:
    """Check a whole output by ranged reads, one for each image, `threads` at a time.

    A shard with an image that isn't what its row says is marked as damaged: the next run of the job does again what it
    held. Nothing else is written.

    Raises:
        StorageError: the output can't be read.
    """
    fs, output = storage.filesystem(url)
    verdict, damaged = Verdict(), set[str]()
    with storage.faults_as_sentences(f"reading {url}"):
        verdict.faults += [f"index/{f.name}: {f.damage}" for f in fragments(fs, output, ["key"]) if f.damage]
        verdict.faults += _orphans(fs, output)
        view = current(fs, output, COLUMNS)
        verdict.rows = len(view)
        with ThreadPoolExecutor(threads) as pool:
            for batch in view.to_batches(max_chunksize=1024):
                rows = [row for row in batch.to_pylist() if row["status"] == "ok"]
                verdict.ok += len(rows)
                verdict.bytes += sum(row["length"] for row in rows)
                found = zip(rows, pool.map(lambda row: _fault(fs, output, row), rows), strict=True)
                bad = [(row["shard"], fault) for row, fault in found if fault]
                verdict.faults += [fault for _, fault in bad]
                damaged |= {shard for shard, _ in bad}
        for shard in sorted(damaged):
            try:
                mark_damaged(fs, output, f"{shard.rpartition('.')[0]}.parquet")
                verdict.marked += 1
            except Exception as fault:
                if not storage.is_storage_fault(fault):
                    raise
                verdict.faults.append(f"shards/{shard} could not be marked as damaged: {storage.sentence(fault)}")
    return verdict


def _orphans(fs: FileSystem, output: str) -> Iterator[str]:
    shards = storage.sizes(fs, storage.join(output, SHARDS))
    named = {name.rpartition(".")[0] for name in storage.sizes(fs, storage.join(output, INDEX))}
    for name in shards:
        if name.rpartition(".")[0] not in named:
            yield f"shards/{name}: no fragment points to it"


def _fault(fs: FileSystem, output: str, row: dict[str, object]) -> str:
    """What is wrong with one ok row's bytes; empty if nothing is."""
    where = f"{row['key']} (shards/{row['shard']} at {row['offset']})"
    try:
        data = image_bytes(fs, output, row)
    except FileNotFoundError:
        return f"{where}: the shard is missing"
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return f"{where}: the bytes don't match their sha256"
    try:
        picture = decode(data, MAX_PIXELS)
    except Fault as fault:
        return f"{where}: {fault}"
    if (picture.width, picture.height) != (row["width"], row["height"]):
        return f"{where}: is {picture.width} x {picture.height}, the row says {row['width']} x {row['height']}"
    return ""


def image_bytes(fs: FileSystem, output: str, row: dict[str, object]) -> bytes:
    """An ok row's encoded image, by one ranged read."""
    offset, length = row["offset"], row["length"]
    assert isinstance(offset, int)
    assert isinstance(length, int)
    return storage.read_bytes(fs, storage.join(output, SHARDS, str(row["shard"])), offset, length)
