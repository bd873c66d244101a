"""`recast translate` and `recast upscale`: a trained generator over every image of a source."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recast.jobs.arguments import Results, SourceImages
from recast.jobs.specs import SpecError, TranslateOptions, UpscaleOptions, bundle_place, named_places
from recast.models.shipped import SHIPPED
from recast.pipeline.bulk.job import BulkJob

if TYPE_CHECKING:
    from recast.pipeline.bulk.operation import Operation


def translate(
    source: SourceImages, output: Results, *, options: Annotated[TranslateOptions, Parameter(name="*")]
) -> int:
    """Run a trained generator over every image of SOURCE.

    For a bundle whose first input is no image, SOURCE is an output or a table that holds the points or codes.

    Example: `recast translate photos/ painted/ --model runs/facades/bundle`
    """
    from recast.jobs import bulk

    return bulk.run_alone(translation(source, output, options), options)


def upscale(
    source: SourceImages,
    output: Results,
    *,
    options: Annotated[UpscaleOptions | None, Parameter(name="*")] = None,
) -> int:
    """Enlarge every image of SOURCE.

    Example: `recast upscale photos/ upscaled/ --scale 4`, or `recast upscale photo.jpg photo-x2.png`
    """
    from recast.jobs import bulk

    options = options or UpscaleOptions()
    job, operation = upscaling(source, output, options)
    return bulk.run_alone(job, options, operation)


def translation(source: str, output: str, options: TranslateOptions) -> BulkJob:
    """The job that `recast translate` is asked for."""
    return options.job("translate", source, output, options.model, inputs=named_places(options.inputs))


def upscaling(source: str, output: str, options: UpscaleOptions) -> tuple[BulkJob, "Operation | None"]:
    """The job that `recast upscale` is asked for, and its operation where that is more than a bundle's."""
    target, inputs = options.target(), named_places(options.inputs)
    if target is None:
        return options.job("upscale", source, output, options.bundle(), inputs=inputs), None
    from recast.pipeline.bulk.network import bundle_operation
    from recast.pipeline.bulk.resized import resizing
    from recast.pipeline.bundles import describe

    several = [options.bundle()] if options.model or target.scale else list(SHIPPED)
    scales = {describe(bundle_place(bundle)).descriptor.scale: bundle_place(bundle) for bundle in several}
    if target.scale > max(scales):
        raise SpecError(f"--scale {target.scale:g}: {options.model} enlarges {max(scales)} times")
    making = {} if target.scale in scales else {"target": str(target)}
    job = options.job("upscale", source, output, options.bundle(), making=making, inputs=inputs)
    if not making:
        return job, None
    return job, resizing(
        {scale: bundle_operation(dataclasses.replace(job, model=bundle)) for scale, bundle in scales.items()}, target
    )
