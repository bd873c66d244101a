"""What makes results of a bulk job's inputs, and what the index calls it: a bundle's generator, or an anonymizer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from recast.models.bundle import BundleError
from recast.pipeline import bundles
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.regions.tables import Compared
from recast.pipeline.sources.inputs import Input

if TYPE_CHECKING:
    from recast.pipeline.bulk.worker import WorkerSettings


class Operator(Protocol):
    """Built once in each worker."""

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture | InputError]:
        """Pictures of one shape and depth, and the inputs that they were -> their results, in order."""
        ...


class OperationPayload(Protocol):
    """All that a worker needs to build its mapper; travels by pickle from the driver to the workers of a run."""

    @property
    def seal_key(self) -> Secret | None:
        """What originals of what is replaced are to be sealed with; None: they aren't."""
        ...

    def operator(self, work: "WorkerSettings") -> Operator: ...


@dataclass(frozen=True)
class Operation:
    """As the driver knows it, before there is any work."""

    name: str
    """For people."""
    digest: str
    """What decides the results, besides the job's settings."""
    place: str
    """Where it comes from, where it comes from somewhere."""
    payload: Callable[[], OperationPayload]
    """Fetches what is to travel; asked only when there is work."""
    renames: Callable[[Iterator[Input], bool], Iterator[Input]] | None = None
    """Gives the listed inputs other keys, where the output's are not the source's."""
    hides: Callable[[str], str] | None = None
    """What stands for an address or a pattern of the source in manifests, where nothing may tell the inputs' names."""

    compared: Compared | None = None
    """Finds out which keys of a user's table of boxes are an input's."""

    def listed(self, items: Iterator[Input], *, run: bool) -> Iterator[Input]:
        """A listing under the output's keys; outside of a `run`, nothing is written for it."""
        items = self.compared(items) if self.compared else items
        return self.renames(items, run) if self.renames else items


@dataclass(frozen=True)
class BundlePayload:
    """A bundle's files."""

    packed: bundles.Packed
    seal_key: Secret | None = None

    def operator(self, work: "WorkerSettings") -> Generator:
        bundle, network = self.packed.unpack()
        return Generator(
            network,
            bundle.descriptor,
            device=work.device,
            precision=work.precision,
            batch_size=work.batch_size,
            noise=work.noise,
        )


def bundle_operation(job: BulkJob) -> Operation:
    """The generator of the job's bundle. Raises BundleError for one that is for something else."""
    bundle = bundles.describe(job.model)
    d = bundle.descriptor
    if d.task != job.job:
        raise BundleError(f"{job.model} is a bundle for `recast {d.task}`, not for `recast {job.job}`")
    if d.conditions:
        raise BundleError(
            f"{job.model} needs conditions ({', '.join(d.conditions)}), which `recast {job.job}` can't give"
        )
    return Operation(bundle.name, bundle.digest, job.model, lambda: BundlePayload(bundles.fetch(job.model)))
