"""`recast translate` and `recast upscale`: a trained generator over every image of a source."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.specs import TranslateOptions, UpscaleOptions, named_places


def translate(source: str, output: str, *, options: Annotated[TranslateOptions, Parameter(name="*")]) -> int:
    """Run a trained generator over every image of SOURCE (folder, glob, tar, zip, Parquet, inventory, output)."""
    from recast.jobs import bulk

    job = options.job("translate", source, output, options.model, inputs=named_places(options.inputs))
    return bulk.run(job, options)


def upscale(source: str, output: str, *, options: Annotated[UpscaleOptions | None, Parameter(name="*")] = None) -> int:
    """Enlarge every image of SOURCE (folder, glob, tar, zip, Parquet, inventory, output)."""
    from recast.jobs import bulk

    options = options or UpscaleOptions()
    job = options.job("upscale", source, output, options.bundle(), inputs=named_places(options.inputs))
    return bulk.run(job, options)
