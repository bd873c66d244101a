"""`recast translate` and `recast upscale`: a trained generator over every image of a source."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.arguments import Results, SourceImages
from recast.jobs.specs import TranslateOptions, UpscaleOptions, named_places


def translate(
    source: SourceImages, output: Results, *, options: Annotated[TranslateOptions, Parameter(name="*")]
) -> int:
    """Run a trained generator over every image of SOURCE.

    For a bundle whose first input is no image, SOURCE is an output or a table that holds the points or codes.

    Example: `recast translate photos/ painted/ --model runs/facades/bundle`
    """
    from recast.jobs import bulk

    job = options.job("translate", source, output, options.model, inputs=named_places(options.inputs))
    return bulk.run_alone(job, options)


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
    job = options.job("upscale", source, output, options.bundle(), inputs=named_places(options.inputs))
    return bulk.run_alone(job, options)
