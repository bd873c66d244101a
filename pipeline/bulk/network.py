"""The operation of a bundle: its network over every input."""

from dataclasses import dataclass
from functools import partial

from recast.models.description import BundleError
from recast.models.descriptor import Descriptor
from recast.pipeline import bundles, storage
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, Operator
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.places import place, same
from recast.pipeline.sources.further_inputs import FurtherInputs, Provider, wanted
from recast.pipeline.sources.input_providers import provider
from recast.pipeline.sources.number_listing import NumberListing
from recast.pipeline.sources.source_listing import SourceListing


@dataclass(frozen=True)
class BundlePayload:
    """A bundle's files."""

    packed: bundles.Packed

    def operator(self, settings: WorkerSettings) -> Operator:
        from recast.pipeline.bulk.generator import Generator  # torch: a run with nothing to do does without it

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
    further, first = _further(job, d), d.takes[0]
    numbers = partial(NumberListing, each=first, alone=d.picture is None)
    return Operation(
        bundle.name,
        bundle.digest,
        job.model,
        lambda: _payload(job.model, len(d.takes)),
        listing_of=SourceListing if first.has_pixels else numbers,
        joins=FurtherInputs(further) if further else None,
    )


def _payload(model: str, inputs: int) -> BundlePayload:
    """A bundle's files; its network is asked beforehand whether it takes so many inputs."""
    from recast.models.joined import joined

    packed = bundles.fetch(model)
    if inputs > 1:
        try:
            joined(packed.unpack()[1], inputs)
        except ValueError as fault:
            raise BundleError(f"the network of {model} can't be used: {fault}") from fault
    return BundlePayload(packed)


def _further(job: BulkJob, descriptor: Descriptor) -> dict[str, Provider]:
    """What gives each input of a network but its first, which SOURCE gives, and other noise, which is drawn.

    Raises:
        BundleError: the network takes what nothing gives, or something is given that it doesn't take.
        InputsError, StorageError: a place that can't give what is wanted of it.
    """
    others = descriptor.takes[1:]
    if odd := [each for each in descriptor.takes if each.kind == "previous"]:
        raise BundleError(f"{job.model} takes the input {wanted(odd[0])}, which `recast {job.job}` can't give")
    needed = {each.name: each for each in others if each.kind != "noise"}
    for name in job.inputs:
        if name not in needed:
            takes = ", ".join(map(wanted, needed.values())) or "none"
            raise BundleError(f"--input {name}: {job.model} takes no such input besides SOURCE; it takes {takes}")
    output = place(*storage.filesystem(job.output))
    for name, each in needed.items():
        if name in job.inputs and same(place(*storage.filesystem(job.inputs[name])), output):
            raise BundleError(f"--input {name} is the output of this very job, {job.output}; choose another output")
        if name not in job.inputs:
            raise BundleError(
                f"{job.model} takes the input {wanted(each)} besides SOURCE: give --input {name}=OUTPUT or {name}=TABLE"
            )
    alone = descriptor.picture is None
    return {name: provider(each, job.inputs[name], job.source.schemes, alone=alone) for name, each in needed.items()}
