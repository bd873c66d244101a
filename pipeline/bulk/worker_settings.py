"""What the workers of a bulk run are told: the job, and what the run adds to it."""

import json
from dataclasses import dataclass
from functools import cached_property

from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.output.lease import Claim
from recast.pipeline.output.shards import SOURCES


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Everything that a worker must know; the same for all workers of a run."""

    job: BulkJob
    run: str
    model: str
    """Digest of the operation."""
    model_name: str = ""
    """What people call it."""
    device: str
    threads: int
    """For decoding and for encoding each, beside an accelerator. 0 without one: every core is then busy in a generator
    of its own, and pixels stay in the thread, and the cache, that they are in."""
    tensor_threads: int = 1
    """For the arithmetic of a network on a CPU, if its operator's results are the same with any number of them."""
    fails_closed: bool = False
    """Whether an image that can't be processed is held, as one that a policy keeps back."""
    sidecars: tuple[str, ...] = ()
    """The kinds of rows that the operator leaves beside shards."""
    claim: Claim | None = None
    """The claim by which the run may write; None where nobody else can be at work, as in measurements and tests."""

    @cached_property
    def spec(self) -> str:
        """Digest of the settings that decide the results."""
        return self.job.spec_digest()

    @cached_property
    def batch_size(self) -> int:
        """Pictures that go through a network together."""
        return self.job.batch_size or (1 if self.device == "cpu" else 8)

    @cached_property
    def about(self) -> dict[str, str]:
        """For the fragments' metadata: the names behind `model` and `spec`, and whether samples may tell their source:
        not where an operation fails closed, since the shards of a de-identification are what is passed on."""
        sources = {} if self.fails_closed else {SOURCES: "told"}
        return {"recast.bundle": self.model_name, "recast.settings": json.dumps(self.job.deciding()), **sources}
