"""The manifest of a finished run: what was asked, what came of it, and what it took."""

import datetime
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from recast.pipeline import storage, witness
from recast.pipeline.bulk.job import BulkJob, Summary
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.output.index import RUNS
from recast.pipeline.output.rows import FORMAT
from recast.pipeline.storage import FileSystem
from recast.pipeline.urls import shown
from recast.pipeline.versions import versions


def write_manifest(fs: FileSystem, output: str, job: BulkJob, operation: Operation, summary: Summary) -> None:
    """Put `runs/<run>.json` in place: the last thing a run does."""
    facts = shown(manifest(job, operation, summary))
    facts["witness"] = witness.mark(facts["run"], facts["output"], facts["spec"]["source"]["urls"])
    data = json.dumps(facts, indent=2).encode()
    storage.write_bytes(fs, storage.join(output, RUNS, f"{summary.run}.json"), data)


def manifest(job: BulkJob, operation: Operation, summary: Summary) -> dict[str, Any]:
    if operation.hides:
        job = _unnamed(job, operation.hides)
    done = summary.ok + summary.failed + summary.held
    wall = summary.seconds["wall"]
    return {
        "format": FORMAT,
        "run": summary.run,
        "job": job.job,
        "source": str(job.source),
        "output": job.output,
        "model": {"name": operation.name, "digest": operation.digest, "path": operation.place},
        "spec": asdict(job),
        "spec_digest": job.spec_digest(),
        "counts": summary.counts(),
        "bytes": {"read": summary.bytes_read, "written": summary.bytes_written},
        "seconds": {stage: round(s, 3) for stage, s in summary.seconds.items()},
        "images_per_s": round(done / wall, 3) if wall else 0.0,
        "failures": summary.failures,
        "passed_over": summary.passed_over,
        "shards": summary.shards,
        "pruned": summary.pruned,
        "swept": summary.swept,
        **({"boxes": {"keys": operation.compared.keys, "unmatched": summary.unmatched}} if operation.compared else {}),
        "versions": versions(),
        "started_at": summary.started_at.isoformat(),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(),
    }


def _unnamed(job: BulkJob, hides: Callable[[str], str]) -> BulkJob:
    """The job without what tells of its inputs' names: addresses of the source, patterns, and the folders that the
    output lies in, which may be the source's."""
    told = job.source
    urls, include, exclude = (tuple(map(hides, texts)) for texts in (told.urls, told.include, told.exclude))
    source = replace(told, urls=urls, include=include, exclude=exclude, skip="")
    return replace(job, source=source, output=f"…/{job.output.rstrip('/').rpartition('/')[2]}")
