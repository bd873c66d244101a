"""What a bulk job does to each input: an operation, as the driver knows it, and the operator that each worker builds.

The road knows no operation by name. A new one is a file that builds an `Operation`, and a line in the command that asks
for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.lease import Claim
from recast.pipeline.output.rows import Row
from recast.pipeline.regions.tables import Compared
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import ListingOf
from recast.pipeline.sources.source_listing import SourceListing

SidecarRow = tuple[str, dict[str, Any]]
"""A kind of sidecar, which is its folder in the output, and one row of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an operator gives for one input. What it does not give is no part of the row."""

    picture: Picture | None = None
    """The image that is encoded into the shard; None: regions or scores are the result, and the row has no bytes."""
    regions: tuple[dict[str, Any], ...] | None = None
    """What was found, in the columns of the index; None: nobody looked."""
    scores: tuple[dict[str, Any], ...] | None = None
    """Measures of the image: `name`, `value`, and `by`, the digest of what measured."""
    originals: tuple[tuple[tuple[int, int, int, int], Any], ...] = ()
    """What was replaced, as boxes (left, top, right, bottom) with their pixels, for the operator's sidecar rows."""


class Operator(ABC):
    """Built once in each worker."""

    any_threads: bool = False
    """Whether results are bit for bit the same with any number of torch's threads."""

    def decode(self, data: bytes, max_pixels: int) -> Picture:
        """An input's bytes as the picture that the operator takes. Raises InputError."""
        return decode(data, max_pixels)

    @abstractmethod
    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        """Pictures of one shape and depth, and the inputs that they were -> their results, in order."""

    def sidecars(self, row: Row, item: Input, result: Result | None) -> Iterable[SidecarRow]:
        """Rows that lie beside the shard and live as long as the input's: asked once `row` says what became of it.

        Args:
            result: None for an input that failed or is held.
        """
        return ()


class OperationPayload(Protocol):
    """All that a worker needs to build its operator; travels by pickle from the driver to the workers of a run."""

    def operator(self, settings: WorkerSettings) -> Operator: ...


@dataclass(frozen=True)
class Operation:
    """As the driver knows it, before there is any work."""

    name: str
    """For people."""
    digest: str
    """What decides the results, besides the job's settings."""
    place: str
    """The URL that it comes from; empty for one that comes from no place."""
    payload: Callable[[], OperationPayload]
    """Fetches what is to travel; asked only when there is work."""
    fails_closed: bool = False
    """Whether an input that can't be processed is `held`, as one that a policy keeps back, and results tell nothing of
    where they come from."""
    sidecars: tuple[str, ...] = ()
    """The kinds of rows that its operator leaves beside shards."""
    renames: Callable[[Iterator[Input], bool], Iterator[Input]] | None = None
    """Gives the listed inputs other keys, where the output's are not the source's."""
    hides: Callable[[str], str] | None = None
    """What stands for an address or a pattern of the source in manifests, where nothing may tell the inputs' names."""
    listing_of: ListingOf = SourceListing
    """Lists a URL of the source, where its inputs are no images."""
    joins: Callable[[Iterator[Input]], Iterator[Input]] | None = None
    """Joins to the listed inputs what else the operation takes with each."""
    apart: str = ""
    """What is said, besides, to who asks for it in an output of another operation."""
    compared: Compared | None = None
    """Finds out which keys of a user's table of regions are an input's."""

    def listed(self, items: Iterator[Input], *, run: bool) -> Iterator[Input]:
        """A listing under the output's keys; outside of a `run`, nothing is written for it."""
        items = self.compared(items) if self.compared else items
        items = self.joins(items) if self.joins else items
        return self.renames(items, run) if self.renames else items


def settings_of(
    job: BulkJob, operation: Operation, *, run: str, device: str, threads: int, tensor_threads: int = 1,
    claim: Claim | None = None,
) -> WorkerSettings:  # fmt: skip
    """What the workers of a run must know. Without a claim they may write where nobody else can."""
    return WorkerSettings(
        job=job,
        run=run,
        model=operation.digest,
        model_name=operation.name,
        device=device,
        threads=threads,
        tensor_threads=tensor_threads,
        fails_closed=operation.fails_closed,
        sidecars=operation.sidecars,
        claim=claim,
    )
