"""`recast index`: look into an output, check it, and take images out of it."""

import datetime
import json
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recast.jobs.exit_status import DONE, FAILED
from recast.pipeline import events, storage
from recast.pipeline.ahead import ahead
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output import compaction
from recast.pipeline.output.housekeeping import collect_garbage, shards_of
from recast.pipeline.output.index import INDEX, PLACE, current, current_row, epoch_of, image_bytes, place_of
from recast.pipeline.output.lease import Lease
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.reasons import plural
from recast.pipeline.storage import StorageError

READERS = 8


def summary(output: str, *, as_json: bool = False) -> int:
    """Count an output's current rows by status, error kind, format and run."""
    fs, path = _there(output)
    with storage.faults_as_sentences(f"reading {output}"):
        view = current(fs, path, ["status", "error", "format", "length", "run"])
    formats = view["format"].to_pylist()
    kinds = Counter((error or "").partition(":")[0] for error in view["error"].to_pylist() if error)
    facts = {
        "output": output,
        "rows": len(view),
        "status": dict(Counter(view["status"].to_pylist())),
        "errors": dict(kinds.most_common()),
        "formats": dict(Counter(f for f in formats if f)),
        "without_image": sum(s == "ok" and f is None for s, f in zip(view["status"].to_pylist(), formats, strict=True)),
        "bytes": sum(n or 0 for n in view["length"].to_pylist()),
        "runs": len(set(view["run"].to_pylist())),
    }
    if as_json:
        print(json.dumps(facts))
        return DONE
    for name, value in facts.items():
        said = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
        events.show(f"{name:13} {said}")
    return DONE


def _there(output: str) -> tuple[storage.FileSystem, str]:
    """Where an output lies. Raises StorageError if there is none: neither an index nor a run."""
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        if not any(storage.sizes(fs, storage.join(path, part)) for part in (INDEX, "runs")):
            raise StorageError(f"there is no output at {output}")
    return fs, path


def check(output: str, *, as_json: bool = False) -> int:
    """Re-check every image's bytes and every fragment. Exit status 1 if anything is wrong."""
    _there(output)
    verdict = verify(output)
    if as_json:
        facts = {"output": output, "rows": verdict.rows, "ok": verdict.ok, "bytes": verdict.bytes}
        print(json.dumps({**facts, "faults": verdict.faults, "marked": verdict.marked}))
    else:
        events.show(
            f"{output}: {plural(verdict.rows, 'row')}, {plural(verdict.ok, 'image')} re-checked, "
            f"{plural(len(verdict.faults), 'fault')}"
        )
        for fault in verdict.faults:
            events.say(fault)
        if verdict.faults:
            events.say("run the job again: it does again what is missing or damaged")
    return FAILED if verdict.faults else DONE


def get(output: str, key: str, to: str = "-") -> int:
    """Write one image to a file, here or on storage, or to standard output."""
    data = _bytes_of(output, key)
    if to == "-":
        sys.stdout.buffer.write(data)
    else:
        with storage.faults_as_sentences(f"writing {to}"):
            storage.write_bytes(*storage.filesystem(to), data)
    return DONE


def _bytes_of(output: str, key: str) -> bytes:
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        row = current_row(fs, path, key, ["status", "error", *PLACE])
        if row is None:
            raise StorageError(f"{output} has no row for {key}")
        if row["status"] != "ok":
            raise StorageError(f"{key} has no image: it is {row['status']} ({row['error']})")
        if place_of(row) is None:
            raise StorageError(f"{key} has no image: its result is what the index says of it")
        return image_bytes(fs, path, row)


def extract(output: str, folder: str, *, replace: bool = False) -> int:
    """Write every image into a folder, under its key with the result's extension; other files stay as they are."""
    _there(output)
    view, target = OutputFileSystem(output), storage.filesystem(folder)
    with storage.faults_as_sentences(f"extracting {output} to {folder}"), ThreadPoolExecutor(READERS) as pool:
        count = sum(ahead(lambda path: _extract(view, path, *target, replace), view.find(""), pool, 2 * READERS))
    events.show(f"{folder}: {plural(count, 'image')}")
    return DONE


def _extract(view: OutputFileSystem, path: str, fs: storage.FileSystem, folder: str, replace: bool) -> int:
    target = storage.join(folder, path)
    if ".." in path.split("/") or (storage.is_local(fs) and not _lies_in(target, folder)):
        raise StorageError(f"{path} would be written outside {folder}")
    data = view.cat_file(path)
    there = None if replace else _there_already(fs, target)
    if there is not None and there != data:
        raise StorageError(f"{target} exists already and is another file; give --replace to write over it")
    if there is None:
        storage.write_bytes(fs, target, data)
    return 1


def _lies_in(target: str, folder: str) -> bool:
    """Whether a local path lies below a folder, wherever links in it lead."""
    return Path(target).resolve().is_relative_to(Path(folder).resolve())


def _there_already(fs: storage.FileSystem, path: str) -> bytes | None:
    """What is at a place: a file's bytes, none of a folder; None where there is nothing."""
    try:
        return storage.read_bytes(fs, path)
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        return b""


def compact(output: str, *, shard_images: int, shard_bytes: int) -> int:
    """Merge small shards and drop what was superseded, as the one writer of the output."""
    fs, path = storage.filesystem(output)
    started = datetime.datetime.now(datetime.UTC)
    with storage.faults_as_sentences(f"compacting {output}"):
        if not storage.sizes(fs, storage.join(path, INDEX)):
            raise StorageError(f"there is no output at {output}")
    run = f"compact-{uuid.uuid4().hex[:6]}"
    with storage.faults_as_sentences(f"compacting {output}"), Lease(fs, path, run) as lease:
        before = shards_of(fs, path)
        lease.above(max(map(epoch_of, before), default=0))
        swept = collect_garbage(fs, path, lease, before, (), set(), began_at=started)
        done = compaction.compact(fs, path, lease, shard_images=shard_images, shard_bytes=shard_bytes)
    print(
        f"{output}: {done.fragments_before:,} shards became {done.fragments_after:,}; {done.rows:,} superseded rows "
        f"and {swept:,} leftover files dropped"
    )
    return DONE
