"""A command of the product in a process of its own, which the store knows by name."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.progress import Silent
from tests.pipeline.protocol import reader
from tests.pipeline.protocol.store import Bucket, Process, Trouble

PATIENCE_S = 1000.0
"""What passes between a command that ended and the next: more than a lease takes to expire."""


def at(bucket: Bucket, name: str, work: Callable[[], Any], trouble: Trouble | None = None) -> Process:
    """Do something in a process of its own, some time after all that came before."""
    bucket.now_s += PATIENCE_S
    with Process(name, bucket, trouble) as process, contextlib.redirect_stdout(io.StringIO()):
        try:
            work()
        finally:
            process.dead = True
            bucket.gone.add(name)
    return process


def run(asked: BulkJob, operation: Operation) -> None:
    road.run(asked, Silent(), operation)


def output(bucket: Bucket) -> reader.Reading:
    return reader.read(bucket.below("b/out"))
