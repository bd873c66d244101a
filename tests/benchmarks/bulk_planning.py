"""Deciding that nothing is new: `python -m tests.benchmarks.bulk_planning [ROWS…]` (default 10^4, 10^5, 10^6).

An output with so many settled rows, and an inventory table that names the same inputs. Each run is the command in a
process of its own, whose time and greatest resident memory are taken from outside.
"""

import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recast.models.description import read_description
from recast.models.shipped import shipped
from recast.pipeline import storage
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.output import index
from recast.pipeline.output.rows import SCHEMA
from recast.pipeline.sources.inventory import Source

FRAGMENT_ROWS = 1000
FINISHED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def make(folder: Path, rows: int) -> None:
    """An inventory, and an output in which all of it has failed for good: rows are rows, and need no shards."""
    model = shipped("upscale-x2")
    digest = read_description((model / "bundle.json").read_bytes()).digest
    spec = BulkJob(job="upscale", source=Source(urls=()), output="", model="").spec_digest()
    keys = [f"photos/2026/{n % 365:03}/IMG_{n:09}.jpg" for n in range(rows)]
    etags = [f"{n:032x}" for n in range(rows)]
    pq.write_table(
        pa.table({"key": keys, "uri": [f"s3://archive/{key}" for key in keys], "etag": etags}), folder / "inv.parquet"
    )
    fs, output = storage.filesystem(str(folder / "out"))
    for start in range(0, rows, FRAGMENT_ROWS):
        part = slice(start, start + FRAGMENT_ROWS)
        few = len(keys[part])
        columns = {
            "key": keys[part],
            "source": [f"s3://archive/{key}" for key in keys[part]],
            "fingerprint": [f"etag:{etag}" for etag in etags[part]],
            "status": ["failed"] * few,
            "error": ["corrupt: the image can't be decoded"] * few,
            "model": [digest] * few,
            "spec": [spec] * few,
            "run": ["20260101T000000-000000"] * few,
            "finished_at": [FINISHED] * few,
        }
        table = pa.table([columns.get(f.name, [None] * few) for f in SCHEMA], schema=SCHEMA)
        index.write_fragment(fs, output, f"{start:012}-000.tar", table)


def measure(rows: int) -> tuple[float, float]:
    """Seconds, and greatest resident memory in MiB, of `recast upscale` with nothing to do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, rows)
        command = [sys.executable, "-m", "recast", "upscale", str(folder / "inv.parquet"), str(folder / "out")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        said = process.stdout.read().decode() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, said
        assert "nothing to do" in said, said
        return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    before = (0, 0.0, 0.0)
    for rows in [int(text) for text in sys.argv[1:]] or [10**4, 10**5, 10**6]:
        seconds, memory = measure(rows)
        line = f"{rows:>9,} settled rows: {seconds:6.1f} s, {memory:6.0f} MiB"
        if before[0]:
            more = rows - before[0]
            line += (
                f"; {(seconds - before[1]) / more * 1e6:.1f} us and {(memory - before[2]) / more * 2**20:.0f} B a row"
            )
        print(line, flush=True)
        before = (rows, seconds, memory)


if __name__ == "__main__":
    main()
