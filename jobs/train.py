"""`recast train`: run the training road and say what came of it."""

import dataclasses
import json

from recast.jobs.specs import SpecError, TrainOptions, place
from recast.pipeline import events
from recast.pipeline.training import road
from recast.pipeline.training.plan import TrainingPlan
from recast.pipeline.training.spec import resolved, spec

DONE = 0


def plan(recipe: str, options: TrainOptions) -> TrainingPlan:
    """The training that the options ask for. Raises ValueError for an override that isn't key=value."""
    overrides = {}
    for text in options.overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: it must be key=value")
        overrides[key.strip()] = value.strip()
    least, most = options.worker_range()
    return TrainingPlan(
        recipe=recipe,
        data=place(options.data),
        output=place(options.output),
        preset=options.preset or "",
        overrides=overrides,
        steps=options.steps,
        workers=most,
        least_workers=least if least != most else None,
        loss_network=place(options.loss_network) if options.loss_network else "",
        style_image=place(options.style_image) if options.style_image else "",
        faces=place(options.faces) if options.faces else "",
        start_from=place(options.start_from) if options.start_from else "",
        sync_batchnorm=options.sync_batchnorm,
        compile=options.compile,
        accumulate=options.accumulate,
        keep_checkpoints=options.keep_checkpoints,
        gpus_per_worker=options.gpus_per_worker,
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
        precision=options.precision,
        bundle_precision=options.bundle_precision,
    )


def run(recipe: str, options: TrainOptions) -> int:
    """Train, or with `--dry-run` say what would be trained. Returns the exit status."""
    try:
        asked = plan(recipe, options)
        config = resolved(asked)
    except ValueError as fault:
        raise SpecError(str(fault)) from fault
    if options.dry_run:
        print(json.dumps(spec(asked, config), indent=2))
        return DONE
    outcome = road.train(asked)
    if outcome.unreadable:
        events.say(
            f"warning: {len(outcome.unreadable):,} images could not be trained on, {outcome.unreadable[0]} among them"
        )
    print(
        json.dumps(dataclasses.asdict(outcome), default=str)
        if options.as_json
        else f"{asked.output}/bundle: {recipe} after {outcome.steps:,} steps"
    )
    return DONE
