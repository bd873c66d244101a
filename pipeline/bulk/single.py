"""One input through a job's stages in this process, its result in memory: no output, no index, no lease."""

from dataclasses import dataclass
from typing import Any

import torch

from recast.pipeline.bulk.here import device_here
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, settings_of
from recast.pipeline.bulk.sample import Sample
from recast.pipeline.bulk.stages import stages
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.cores import cores
from recast.pipeline.sources.hidden import sentence_of
from recast.pipeline.sources.inventory import inventory


class SingleError(Exception):
    """An input that could not be tried, for its storage did not answer or Recast made a mistake."""

    exit_status = 1

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.details = details
        """For a log file: the traceback of a mistake."""


@dataclass(frozen=True, kw_only=True)
class Single:
    """What became of one input."""

    status: str
    """`ok`, `failed` or `held`."""
    error: str | None = None
    """The kind of failure and a sentence, where there is no result."""
    data: bytes = b""
    """The encoded result."""
    width: int = 0
    height: int = 0
    regions: tuple[dict[str, Any], ...] | None = None
    notes: tuple[str, ...] = ()


def single(job: BulkJob, operation: Operation) -> Single:
    """The one input of the job's source, worked on as a run would.

    Raises:
        SingleError: the input could not be tried.
        StorageError, BundleError, DeviceError: as a run would.
    """
    device, threads = device_here(job), torch.get_num_threads()
    settings = settings_of(job, operation, run="none", device=device, threads=0, tensor_threads=cores())
    (item,) = operation.listed(inventory(job.source), run=False)
    try:
        samples = iter([Sample(item, 0)])
        for stage in stages(settings, operation.payload().operator(settings), Tally()):
            samples = stage(samples)
        (sample,) = samples
    finally:
        torch.set_num_threads(threads)
    if sample.untried:
        raise SingleError(f"{item.key} could not be tried: {sample.untried}", sample.mistake)
    if sample.fault is not None:
        status = "held" if operation.fails_closed else sample.fault.status
        return Single(status=status, error=f"{sample.fault.kind}: {sentence_of(sample.fault, item)}")
    return _result(sample)


def _result(sample: Sample) -> Single:
    result = sample.result
    assert result is not None  # a sample without a fault has gone through every stage
    if result.picture is None or sample.data is None:
        return Single(status="failed", error="no-image: its result is no image", regions=result.regions)
    picture = result.picture
    return Single(
        status="ok",
        data=sample.data,
        width=picture.width,
        height=picture.height,
        regions=result.regions,
        notes=tuple(picture.notes),
    )
