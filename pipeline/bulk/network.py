"""The operation of a bundle: its network over every input."""

from dataclasses import dataclass

from recast.models.bundle import BundleError
from recast.pipeline import bundles
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.bulk.worker_settings import WorkerSettings


@dataclass(frozen=True)
class BundlePayload:
    """A bundle's files."""

    packed: bundles.Packed

    def operator(self, settings: WorkerSettings) -> Generator:
        bundle, network = self.packed.unpack()
        return Generator(
            network,
            bundle.descriptor,
            device=settings.device,
            precision=settings.job.precision,
            batch_size=settings.batch_size,
            noise=settings.job.noise,
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
    first, *further = d.takes
    for odd in [*further, *([first] if first.kind != "image" else [])]:
        raise BundleError(f"{job.model} takes the input {odd.name} ({odd.kind}), which `recast {job.job}` can't give")
    return Operation(bundle.name, bundle.digest, job.model, lambda: BundlePayload(bundles.fetch(job.model)))
