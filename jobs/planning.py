"""What a command's words ask for, for whoever runs it without a command line."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recast.jobs import cli, single, train
from recast.jobs.commands import annotate, bulk, deidentify
from recast.jobs.specs import DeidentifyOptions, RestoreOptions, SpecError, UpscaleOptions
from recast.pipeline.bulk import road as bulk_road
from recast.pipeline.bulk.job import BulkJob, Summary
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.progress import Progress
from recast.pipeline.training import road as training_road
from recast.pipeline.training.road import Outcome

COMMANDS = ("upscale", "translate", "deidentify", "restore", "annotate", "train")
Run = Callable[[Progress], Summary | Outcome]


def planned(words: Sequence[str]) -> Run:
    """The words of a command, checked as the command line checks them -> what runs it.

    Raises:
        SpecError, ValidationError, CycloptsError: the command line wouldn't take it.
    """
    if words[0] not in COMMANDS:
        raise SpecError(f"a Job is one of {', '.join(COMMANDS)}, and not {words[0]!r}")
    _, bound, _ = cli.app.parse_args(list(words), exit_on_error=False, print_error=False)
    given: Mapping[str, Any] = bound.arguments
    if words[0] == "train":
        asked = train.plan(given["recipe"], given["options"])
        return lambda progress: training_road.train(asked, progress)
    job, operation = _bulk(words[0], given)
    if single.is_meant(job):
        raise SpecError(f"{job.output} ends like an image; for one image there are recast.upscale and its like")

    def run(progress: Progress) -> Summary:
        with deidentify.unnamed(job):
            return bulk_road.run(job, progress, operation)

    return run


def _bulk(command: str, given: Mapping[str, Any]) -> tuple[BulkJob, Operation | None]:
    source, output, options = given["source"], given["output"], given.get("options")
    if command == "deidentify":
        return deidentify.deidentification(source, output, options or DeidentifyOptions())
    if command == "restore":
        return deidentify.restoration(source, output, options or RestoreOptions())
    if command == "annotate":
        assert options is not None
        return annotate.annotation(source, output, options)
    if command == "translate":
        assert options is not None  # --model is one that must be given
        return bulk.translation(source, output, options), None
    return bulk.upscaling(source, output, options or UpscaleOptions())
