"""Re-check what an output claims: every ok row's bytes against its sha256, every shard against its fragment, every file
against its row."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.evaluation.file_integrity import file_faults, image_fault, nameless
from recast.pipeline.output.index import OWN_NAME, PLACE, SHARDS, STEM, current, fragments, has_file, mark_damaged
from recast.pipeline.storage import FileSystem

COLUMNS = ("key", "status", *PLACE, "sha256", "width", "height", STEM)
SHARDS_AT_ONCE = 4
BLOCK_BYTES = 8 << 20
"""How much of a shard is read at a time, beside the image that is being put together."""


@dataclass(slots=True)
class Verdict:
    """What a check found; sound if there are no faults."""

    rows: int = 0
    ok: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    marked: int = 0
    """Fragments that were marked as damaged, for a run to do again what they tell of."""


@dataclass(slots=True)
class _Claims:
    """What the index says of a shard."""

    size: int = 0
    sha256: str = ""
    """Empty in outputs of before fragments said it."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The current rows whose images lie in it."""


def verify(url: str, threads: int = 8) -> Verdict:
    """Check a whole output, reading each shard once; images are checked `threads` at a time.

    A shard with an image that isn't what its row says, or that as a whole isn't the one its fragment was written for,
    is marked as damaged: the next run of the job does again what it held. So is what was written together with a file
    that is missing or isn't what its row says. Nothing else is written.

    Raises:
        StorageError: the output can't be read.
    """
    fs, output = storage.filesystem(url)
    verdict = Verdict()
    with storage.faults_as_sentences(f"reading {url}"):
        shards = _claims(fs, output, verdict)
        verdict.faults += _orphans(fs, output, shards)
        files = _add_rows(shards, current(fs, output, COLUMNS), verdict)
        verdict.faults += nameless(fs, output, files)
        with ThreadPoolExecutor(SHARDS_AT_ONCE) as readers, ThreadPoolExecutor(threads) as checkers:
            checks = {
                shard: readers.submit(_shard_faults, fs, output, shard, claims, checkers)
                for shard, claims in shards.items()
            }
            found = {shard: check.result() for shard, check in checks.items()}
        verdict.faults += [fault for faults in found.values() for fault in faults]
        wrong = file_faults(fs, output, files, threads)
        verdict.faults += [fault for _, fault in wrong]
        damaged = {shard.rpartition(".")[0] for shard, faults in found.items() if faults}
        for stem in sorted(damaged | {row[STEM] for row, _ in wrong}):
            _mark(fs, output, f"{stem}.parquet", verdict)
    return verdict


def _mark(fs: FileSystem, output: str, name: str, verdict: Verdict) -> None:
    """Have a run do again what a fragment tells of."""
    try:
        mark_damaged(fs, output, name)
        verdict.marked += 1
    except Exception as fault:
        if not storage.is_storage_fault(fault):
            raise
        verdict.faults.append(f"index/{name} could not be marked as damaged: {storage.sentence(fault)}")


def _claims(fs: FileSystem, output: str, verdict: Verdict) -> dict[str, _Claims]:
    """Every shard that a sound fragment speaks of; damaged fragments are faults."""
    shards: dict[str, _Claims] = defaultdict(_Claims)
    for fragment in fragments(fs, output, ["key"]):
        if fragment.rows is None:
            verdict.faults.append(f"index/{fragment.name}: {fragment.damage}")
        elif shard := fragment.about.get("recast.shard"):
            sha256 = fragment.about.get("recast.shard_sha256", "")
            shards[shard] = _Claims(int(fragment.about["recast.shard_bytes"]), sha256)
    return shards


def _add_rows(shards: dict[str, _Claims], view: pa.Table, verdict: Verdict) -> list[dict[str, Any]]:
    """Sort the rows by the shards that their bytes lie in. Returns those whose bytes are files of their own."""
    verdict.rows = len(view)
    view = view.filter(pc.equal(view["status"], "ok"))
    verdict.ok = len(view)
    view = view.filter(pc.is_valid(view["length"]))  # a row may be ok and have no bytes
    verdict.bytes = pc.sum(view["length"]).as_py() or 0
    files = has_file(view)
    for batch in view.filter(pc.invert(files)).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            claims = shards[row["shard"]]
            claims.rows.append(row)
            claims.size = max(claims.size, row["offset"] + row["length"])
    return view.filter(files).to_pylist()


def _orphans(fs: FileSystem, output: str, shards: dict[str, _Claims]) -> Iterator[str]:
    """Shards that no fragment speaks of, and files that Recast did not make. The fragment of the same name may be of
    failed rows alone."""
    for name in storage.sizes(fs, storage.join(output, SHARDS)):
        if name not in shards:
            foreign = "" if OWN_NAME.fullmatch(name) else ", and Recast did not name it: runs leave it there"
            yield f"shards/{name}: no fragment points to it{foreign}"


def _shard_faults(fs: FileSystem, output: str, shard: str, claims: _Claims, checkers: ThreadPoolExecutor) -> list[str]:
    """What is wrong with a shard's images, or with the rest of it."""
    digest, path = hashlib.sha256(), storage.join(output, SHARDS, shard)
    try:
        images = _images(fs, path, claims, digest)
        faults = [fault for fault in ahead(_fault, images, checkers, SHARDS_AT_ONCE) if fault]
    except FileNotFoundError:
        return [f"shards/{shard}: the shard is missing"]
    if claims.sha256 and digest.hexdigest() != claims.sha256 and not faults:
        faults = [f"shards/{shard}: the bytes between its images don't match the checksum in its fragment"]
    return faults


def _images(
    fs: FileSystem, path: str, claims: _Claims, digest: "hashlib._Hash"
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Every row's image, in one pass over the shard, and all of the shard into the digest."""
    rows = iter(sorted(claims.rows, key=lambda row: row["offset"]))
    row, held, start = next(rows, None), bytearray(), 0
    for begin in range(0, claims.size, BLOCK_BYTES):
        block = storage.read_bytes(fs, path, begin, min(BLOCK_BYTES, claims.size - begin))
        digest.update(block)
        held += block
        while row and row["offset"] + row["length"] <= begin + BLOCK_BYTES:
            place = row["offset"] - start
            yield row, bytes(held[place : place + row["length"]])
            row = next(rows, None)
        done = min(row["offset"], begin + len(block)) if row else begin + len(block)
        del held[: max(done - start, 0)]
        start = max(done, start)


def _fault(found: tuple[dict[str, Any], bytes]) -> str:
    row, data = found
    return image_fault(row, f"shards/{row['shard']} at {row['offset']}", data)
