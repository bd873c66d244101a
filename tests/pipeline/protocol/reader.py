"""An output as a stranger's program reads it: by docs/output-format.md, with pyarrow, with nothing of Recast's.

What is wrong comes back as sentences.
"""

import functools
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDECARS = ("seals", "latents")
"""Folders of rows that lie beside shards."""


@dataclass(slots=True)
class Fragment:
    """One index file."""

    name: str
    rows: list[dict[str, Any]]
    shard: str
    """Named by its metadata; empty where it has none."""
    missing: bool
    """Whether its shard is not there, or has another size: what it says doesn't count."""


@dataclass(slots=True)
class Reading:
    """All of an output's files, and what its index says."""

    files: Mapping[str, bytes]
    fragments: list[Fragment] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    """Index files that are no Parquet."""

    def current(self) -> dict[str, dict[str, Any]]:
        """The current row of each key: of the highest (epoch, finished_at)."""
        found: dict[str, dict[str, Any]] = {}
        for fragment in self.fragments:
            for row in fragment.rows if not fragment.missing else ():
                before = found.get(row["key"])
                if before is None or _turn(row) > _turn(before):
                    found[row["key"]] = row
        return found

    def view(self) -> dict[str, tuple[Any, ...]]:
        """What two runs of the same must agree on."""
        return {key: (row["status"], row["sha256"], row["fingerprint"]) for key, row in self.current().items()}

    def bytes_of(self, row: Mapping[str, Any]) -> bytes:
        if row["shard"] is None:
            return self.files[f"files/{row['member']}"]
        return self.files[f"shards/{row['shard']}"][row["offset"] : row["offset"] + row["length"]]


def read(files: Mapping[str, bytes]) -> Reading:
    """Read an output's files, by their paths within it."""
    reading = Reading(files)
    for path in sorted(files):
        if path.startswith("index/"):
            try:
                rows, shard, size = _parsed(files[path])
            except (pa.ArrowException, OSError):
                reading.torn.append(path)
                continue
            missing = bool(shard) and len(files.get(f"shards/{shard}", b"")) != size
            reading.fragments.append(Fragment(path.removeprefix("index/"), rows, shard, missing))
    return reading


@functools.lru_cache(maxsize=4096)
def _parsed(data: bytes) -> tuple[list[dict[str, Any]], str, int]:
    """A fragment's rows, its shard's name and its shard's size."""
    table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
    facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    return table.to_pylist(), facts.get("recast.shard", ""), int(facts.get("recast.shard_bytes", -1))


def _turn(row: Mapping[str, Any]) -> tuple[int, Any]:
    return (row.get("epoch") or 0, row["finished_at"])


def wrong_bytes(reading: Reading) -> Iterator[str]:
    """Current `ok` rows whose bytes are not there, are no image, or not the one that the row says."""
    for key, row in reading.current().items():
        if row["status"] != "ok" or all(row[name] is None for name in ("length", "member", "format", "sha256")):
            continue  # an `ok` row may have no bytes, and then says nothing of any
        path = f"shards/{row['shard']}" if row["shard"] else f"files/{row['member']}"
        if path not in reading.files:
            yield f"{key}: {path} is not there"
            continue
        data = reading.bytes_of(row)
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            yield f"{key}: its bytes are not those of its sha256"
        elif len(data) != row["length"] or (row["shard"] is None) != (row["offset"] is None):
            yield f"{key}: its length or its place is not what the row says"
        elif Image.open(io.BytesIO(data)).size != (row["width"], row["height"]):
            yield f"{key}: its size is not what the row says"


def doubled(reading: Reading) -> Iterator[str]:
    """Keys that one fragment has twice."""
    for fragment in reading.fragments:
        for key, count in Counter(row["key"] for row in fragment.rows).items():
            if count > 1:
                yield f"{key} is {count} times in {fragment.name}"


def disordered(reading: Reading, order: Sequence[str]) -> Iterator[str]:
    """Shards whose images don't lie in this order of keys."""
    for fragment in reading.fragments:
        keys = [row["key"] for row in sorted(fragment.rows, key=lambda row: row["offset"] or 0) if row["shard"]]
        if keys != sorted(keys, key=order.index):
            yield f"{fragment.shard} holds {keys}"


def pointless(reading: Reading) -> Iterator[str]:
    """Fragments whose shard is not there, or has another size: a shard comes before its fragment, and goes after it."""
    yield from (f"{f.name}: its shard is missing or of another size" for f in reading.fragments if f.missing)


def superseded(reading: Reading) -> Iterator[str]:
    """Rows of keys that have several, which nothing is left of after a compaction."""
    counts = Counter(row["key"] for fragment in reading.fragments for row in fragment.rows)
    yield from (f"{key} has {count} rows" for key, count in counts.items() if count > 1)


def leavings(reading: Reading) -> Iterator[str]:
    """Files that a finished run leaves none of: without a partner, damaged, half written, of another name."""
    yield from (f"{path} is no Parquet" for path in reading.torn)
    shards = {fragment.shard for fragment in reading.fragments if fragment.shard}
    stems = {fragment.name.removesuffix(".parquet") for fragment in reading.fragments}
    named = {f"files/{row['member']}" for row in reading.current().values() if row["shard"] is None and row["member"]}
    yield from pointless(reading)
    for path in reading.files:
        if path.startswith("files/"):
            if path not in named and path != "files/.recast":
                yield f"{path} has no row"
            continue
        folder, _, name = path.rpartition("/")
        if (folder == "shards" and name not in shards) or (
            folder in SIDECARS and name.endswith(".parquet") and name.removesuffix(".parquet") not in stems
        ):
            yield f"{path} has no fragment"
        elif folder == "damaged":
            yield f"{path} is a mark that nobody needs"
        elif folder not in ("shards", "index", *SIDECARS, "runs", "") or name.endswith(".part"):
            yield f"{path} is no file of an output"


def seals_amiss(reading: Reading) -> Iterator[str]:
    """Current `ok` rows that have not exactly one seal for each region that was replaced."""
    stems = {f.name.removesuffix(".parquet"): f.rows for f in reading.fragments}
    for key, row in reading.current().items():
        if row["status"] == "ok":
            path = f"seals/{next(stem for stem, rows in stems.items() if row in rows)}.parquet"
            beside = pq.read_table(io.BytesIO(reading.files[path])).to_pylist() if path in reading.files else []
            boxes = Counter(tuple(seal["box"]) for seal in beside if seal["key"] == key and seal["box"])
            regions = [region for region in row["regions"] or () if region["action"]]
            if len(boxes) != len(regions) or set(boxes.values()) - {1}:
                yield f"{key}: {len(regions)} regions were replaced, and its seals are {dict(boxes)}"


def unsound(reading: Reading, *, sealed: bool = False, tidy: bool = False) -> list[str]:
    """All that is wrong with an output after a finished run; `tidy`: after one that leaves nothing superseded."""
    found = [*wrong_bytes(reading), *doubled(reading), *leavings(reading)]
    found += seals_amiss(reading) if sealed else ()
    found += superseded(reading) if tidy else ()
    return found
