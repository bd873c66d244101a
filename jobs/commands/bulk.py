"""`recast translate` and `recast upscale`: a trained generator over every image of a source."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.arguments import Results, SourceImages
from recast.jobs.specs import TranslateOptions, UpscaleOptions, named_places
from recast.pipeline.bulk.job import BulkJob


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

    Example: `recast upscale photos/ upscaled/ --scale 4`
    """
    from recast.jobs import bulk

    options = options or UpscaleOptions()
    return bulk.run_alone(upscaling(source, output, options), options)


def translation(source: str, output: str, options: TranslateOptions) -> BulkJob:
    """The job that `recast translate` is asked for."""
    return options.job("translate", source, output, options.model, inputs=named_places(options.inputs))


def upscaling(source: str, output: str, options: UpscaleOptions) -> BulkJob:
    """The job that `recast upscale` is asked for."""
    return options.job("upscale", source, output, options.bundle(), inputs=named_places(options.inputs))
