"""A former output as a source: its images where they lie, in shards or as files, under the keys that they have."""

from collections.abc import Iterator, Mapping
from typing import Any

from recast.pipeline import storage
from recast.pipeline.output.index import INDEX, OWN_NAME, PLACE, SHARDS, STEM, current, listed, place_of
from recast.pipeline.sources.inputs import Input, readable
from recast.pipeline.sources.passed_over import FAILED_BEFORE, HELD_BEFORE, NO_IMAGE, PassedOver
from recast.pipeline.storage import FileSystem

COLUMNS = ("key", "status", *PLACE, "sha256", STEM)


def is_output(fs: FileSystem, folder: str) -> bool:
    """Whether a folder is an output, and not one of images with folders that happen to be named so."""
    names = listed(fs, folder) if fs.isdir(storage.join(folder, INDEX)) else {}
    if any(OWN_NAME.fullmatch(name) for name in names):
        return True
    return bool(names) and bool(fs.isdir(storage.join(folder, SHARDS)))


def images(fs: FileSystem, output: str, root: str, over: PassedOver) -> Iterator[Input]:
    """The images of an output, as its index tells of them. What has no image there is
    counted: failed and held inputs, and results that are regions or scores alone.

    Raises:
        StorageError: a fragment of the index is damaged: nobody knows what it told of.
    """
    shards = storage.sizes(fs, storage.join(output, SHARDS))
    for batch in current(fs, output, COLUMNS, whole=True).to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            if row["status"] != "ok":
                over.add(not_ok(row["status"]))
            elif place_of(row) is None:
                over.add(NO_IMAGE)
            else:
                yield image(fs, output, root, row, shards)


def not_ok(status: str) -> str:
    """What an input of this status, and thus without a result, is counted as."""
    return HELD_BEFORE if status == "held" else FAILED_BEFORE


def image(fs: FileSystem, output: str, root: str, row: Mapping[str, Any], shards: Mapping[str, int]) -> Input:
    """The image that a row of an output's index (`COLUMNS`) tells of; `shards` are the sizes of what lies there."""
    if row["shard"] is None:
        return _file(fs, output, root, row)
    shard, offset, length = row["shard"], row["offset"] or 0, row["length"] or 0
    problem = _problem(shard, offset, length, shards)
    path = storage.join(output, SHARDS, "" if problem else shard)
    within = f"range://{offset}+{length}"
    if shard.endswith(".tar"):
        within = f"tar://{row['member']}"
    return Input(
        key=row["key"],
        source=f"{within}::{readable(storage.uri(fs, path, root))}",
        fingerprint=f"sha256:{row['sha256']}",
        sha256=row["sha256"] or "",
        stem=row[STEM],
        root=root,
        container=path.encode("utf-8", "surrogateescape"),
        layout="range",
        offset=offset,
        length=length,
        size=length,
        problem=problem,
    )


def _file(fs: FileSystem, output: str, root: str, row: Mapping[str, Any]) -> Input:
    """The image of a row that is a file of its own."""
    place = place_of(row)
    assert place is not None
    path = storage.join(output, place.path)
    return Input(
        key=row["key"],
        source=readable(storage.uri(fs, path, root)),
        fingerprint=f"sha256:{row['sha256']}",
        sha256=row["sha256"] or "",
        stem=row[STEM],
        root=root,
        container=path.encode("utf-8", "surrogateescape"),
        layout="named",
        length=place.length,
        size=place.length,
    )


def _problem(shard: str, offset: int, length: int, shards: Mapping[str, int]) -> str:
    """What is wrong with where an index says that an image lies: a stranger may have written it."""
    if "/" in shard or "\\" in shard or shard in ("", ".", ".."):
        return "unsafe-name: the index names a shard that is no plain file name"
    if shard not in shards:
        return "missing: the shard that the index names is not there"
    if offset < 0 or length < 0 or offset + length > shards[shard]:
        return (
            f"corrupt: the index tells of bytes {offset:,} to {offset + length:,}, and the shard has {shards[shard]:,}"
        )
    return ""
