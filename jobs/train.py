"""`recast train`: run the training road and say what came of it."""

import dataclasses
import json
from typing import Any

from recast.jobs import next_steps
from recast.jobs.exit_status import DONE
from recast.jobs.specs import SpecError, TrainOptions, named_places, place
from recast.jobs.training_progress import TrainingProgress
from recast.pipeline import events
from recast.pipeline.training import road
from recast.pipeline.training.preparation import prepared
from recast.pipeline.training.settings import TrainingSettings, TrainingSpec
from recast.pipeline.training.spec import resolved, spec


def plan(recipe: str, options: TrainOptions) -> TrainingSpec:
    """The training that the options ask for, its places absolute. Raises SpecError and ValidationError."""
    least, most = options.worker_range()
    settings = _annotated(options)
    places: dict[str, Any] = {name: place(url) for name, url in settings.places.items()}
    return TrainingSpec.of(
        dataclasses.replace(settings, **places),
        recipe=recipe,
        overrides=_overrides(options),
        inputs=named_places(options.inputs),
        workers=most,
        least_workers=least if least != most else None,
    )


def _annotated(options: TrainOptions) -> TrainingSettings:
    """The settings, with --annotations by its former name, too."""
    if options.faces is None:
        return options.settings
    if options.settings.annotations is not None:
        raise SpecError("--faces is the former name of --annotations; give one of them")
    return dataclasses.replace(options.settings, annotations=options.faces)


def _overrides(options: TrainOptions) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for text in options.overrides:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise SpecError(f"--set {text}: it must be key=value")
        if key in overrides:
            raise SpecError(f"--set {key} is given twice, as {overrides[key]} and as {value}; give it once")
        if key == "steps" and (steps := options.settings.steps) is not None:
            raise SpecError(f"--steps {steps} and --set steps={value} say the same thing; give one of them")
        overrides[key] = value
    return overrides


def run(recipe: str, options: TrainOptions) -> int:
    """Train, or with `--dry-run` say what would be trained. Returns the exit status."""
    asked = plan(recipe, options)
    if options.dry_run:
        return _looked_at(asked)
    with TrainingProgress(asked.output) as progress:
        outcome = road.train(asked, progress)
    if outcome.unreadable:
        events.say(
            f"warning: {len(outcome.unreadable):,} images could not be trained on, {outcome.unreadable[0]} among them"
        )
    done = ", finished already: nothing was done" if outcome.already_done else ""
    print(
        json.dumps(dataclasses.asdict(outcome), default=str)
        if options.as_json
        else f"{asked.output}/bundle: {recipe} after {outcome.steps:,} steps{done}"
    )
    if not options.as_json:
        next_steps.say(next_steps.after_training(asked.output))
    return DONE


def _looked_at(asked: TrainingSpec) -> int:
    """Everything that a training does before its workers start, but for writing; then what would be trained."""
    for sentence in prepared(asked).said:
        events.say(sentence)
    print(json.dumps(spec(asked, resolved(asked)), indent=2, allow_nan=False))
    return DONE
