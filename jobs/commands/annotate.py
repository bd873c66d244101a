"""`recast annotate`: what networks see in every image of a source."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recast.jobs.arguments import Results, SourceImages
from recast.jobs.specs import AnnotateOptions, SpecError

if TYPE_CHECKING:
    from recast.pipeline.bulk.job import BulkJob
    from recast.pipeline.bulk.operation import Operation


def annotate(source: SourceImages, output: Results, *, options: Annotated[AnnotateOptions, Parameter(name="*")]) -> int:
    """Find things in every image of SOURCE: boxes, masks and keypoints, as rows of the output's index.

    Example: `recast annotate photos/ found/ --model runs/street/bundle --model centerface`
    """
    from recast.jobs import bulk

    job, operation = annotation(source, output, options)
    return bulk.run_alone(job, options, operation)


def annotation(source: str, output: str, options: AnnotateOptions) -> tuple["BulkJob", "Operation"]:
    """The job that `recast annotate` is asked for, and its operation."""
    from recast.jobs import single
    from recast.pipeline.perception.operation import annotating, described

    asked = options.asked()
    known = described(asked)
    job = options.job("annotate", source, output, making=asked.deciding(known))
    alone = single.is_meant(job)
    if alone and not asked.draw:
        raise SpecError(f"{output} ends like an image, and annotations are rows: name a folder, or say what to --draw")
    return job, annotating(asked, known, format=single.format_of(job) if alone else job.encoder.format)
