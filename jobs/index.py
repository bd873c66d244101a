"""`recast index`: look into an output, check it, and take images out of it."""

import json
import sys
from collections import Counter
from pathlib import Path

from pipeline import storage
from pipeline.output.index import current
from pipeline.output.verify import image_bytes, verify
from pipeline.storage import StorageError

DONE, FAILED = 0, 1


def summary(output: str, *, as_json: bool = False) -> int:
    """Count an output's current rows by status, error kind, format and run."""
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        view = current(fs, path, ["status", "error", "format", "length", "run"])
    kinds = Counter((error or "").partition(":")[0] for error in view["error"].to_pylist() if error)
    facts = {
        "output": output,
        "rows": len(view),
        "status": dict(Counter(view["status"].to_pylist())),
        "errors": dict(kinds.most_common()),
        "formats": dict(Counter(f for f in view["format"].to_pylist() if f)),
        "bytes": sum(n or 0 for n in view["length"].to_pylist()),
        "runs": len(set(view["run"].to_pylist())),
    }
    if as_json:
        print(json.dumps(facts))
        return DONE
    for name, value in facts.items():
        print(f"{name:8} {', '.join(f'{k} {v:,}' for k, v in value.items()) if isinstance(value, dict) else value}")
    return DONE


def check(output: str, *, as_json: bool = False) -> int:
    """Re-check every image's bytes and every fragment. Exit status 1 if anything is wrong."""
    verdict = verify(output)
    if as_json:
        facts = {"output": output, "rows": verdict.rows, "ok": verdict.ok, "bytes": verdict.bytes}
        print(json.dumps({**facts, "faults": verdict.faults}))
    else:
        print(f"{output}: {verdict.rows:,} rows, {verdict.ok:,} images re-checked, {len(verdict.faults)} faults")
        for fault in verdict.faults:
            print(fault, file=sys.stderr)
        if verdict.faults:
            print("run the job again: it redoes what is missing or damaged in the index", file=sys.stderr)
    return FAILED if verdict.faults else DONE


def get(output: str, key: str, to: str = "-") -> int:
    """Write one image to a file, or to standard output."""
    data = _bytes_of(output, key)
    if to == "-":
        sys.stdout.buffer.write(data)
    else:
        Path(to).write_bytes(data)
    return DONE


def _bytes_of(output: str, key: str) -> bytes:
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        rows = _rows(output, fs, path)
        row = rows.get(key)
        if row is None:
            raise StorageError(f"{output} has no row for {key}")
        if row["status"] != "ok":
            raise StorageError(f"{key} has no image: it is {row['status']} ({row['error']})")
        return image_bytes(fs, path, row)


def _rows(output: str, fs: storage.FileSystem, path: str) -> dict[str, dict[str, object]]:
    columns = ["key", "status", "error", "shard", "offset", "length", "format"]
    return {row["key"]: row for row in current(fs, path, columns).to_pylist()}


def extract(output: str, folder: str) -> int:
    """Write every image into a folder, under its key with the result's extension."""
    fs, path = storage.filesystem(output)
    root = Path(folder).resolve()
    count = 0
    with storage.faults_as_sentences(f"reading {output}"):
        for key, row in _rows(output, fs, path).items():
            if row["status"] != "ok":
                continue
            target = root / f"{key}.{row['format']}" if not key.endswith(f".{row['format']}") else root / key
            if not target.resolve().is_relative_to(root):
                raise StorageError(f"{key} would be written outside {folder}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image_bytes(fs, path, row))
            count += 1
    print(f"{folder}: {count:,} images")
    return DONE
