"""What decides a training: its settings with everything resolved, and whether an output holds this very training."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from recast.models import recipes
from recast.models.recipes.recipe import RecipeConfig
from recast.pipeline import storage
from recast.pipeline.training.log import now, read_run
from recast.pipeline.training.plan import TrainingError, TrainingPlan
from recast.pipeline.urls import shown
from recast.pipeline.versions import versions

DECIDES_WEIGHTS = ("recipe", "config", "data", "seed", "precision", "sync_batchnorm")
"""Entries of run.json's spec that a training can't change on the way."""
OF_ONE_RUN = ("problem", "warnings")
"""What run.json says of the last run alone."""
PLACES = ("data", "output", "loss_network", "style_image", "faces", "start_from")


def placed(plan: TrainingPlan) -> TrainingPlan:
    """The plan with its preset named, and local paths absolute, for workers have working directories of their own."""
    named: dict[str, Any] = {"preset": plan.preset or next(iter(recipes.RECIPES[plan.recipe].presets))}
    for name in PLACES:
        url = getattr(plan, name)
        named[name] = storage.filesystem(url)[1] if url and "://" not in url else url
    return dataclasses.replace(plan, **named)


def resolved(plan: TrainingPlan) -> RecipeConfig:
    """The recipe's settings: the preset, what the plan overrides, and its steps. Raises ValueError."""
    steps = {} if plan.steps is None else {"steps": plan.steps}
    config = recipes.configured(plan.recipe, plan.preset, {**plan.overrides, **steps})
    if config.batch_size < plan.workers * plan.accumulate:
        raise ValueError(
            f"batch_size is {config.batch_size}; it must be at least workers x accumulate, "
            f"{plan.workers} x {plan.accumulate}"
        )
    return config


def spec(plan: TrainingPlan, config: RecipeConfig) -> dict[str, Any]:
    """The plan with everything resolved, as run.json keeps it: without secrets of URLs."""
    return shown(json.loads(json.dumps({**dataclasses.asdict(plan), "config": dataclasses.asdict(config)})))


def started(plan: TrainingPlan, config: RecipeConfig) -> dict[str, Any]:
    """The run.json to go on with. Raises TrainingError if the output is another training's."""
    wanted, earlier = spec(plan, config), read_run(plan.output)
    for name in DECIDES_WEIGHTS if earlier else ():
        before, after = (_without_steps(s.get(name)) for s in (earlier["spec"], wanted))
        if before != after:
            raise _other(plan.output, _difference(name, before, after))
    begun = earlier.get("started_at", now())
    return {
        **{name: value for name, value in earlier.items() if name not in OF_ONE_RUN},
        "recipe": plan.recipe,
        "preset": plan.preset,
        "spec": wanted,
        "versions": versions(),
        "started_at": begun,
    }


def same_provisions(run: dict[str, Any], digests: Mapping[str, str]) -> None:
    """Raises TrainingError if a training was begun with other supplies than these."""
    before = run.get("provisions", dict(digests))
    if before != digests:
        raise _other(run["spec"]["output"], _difference("provisions", before, dict(digests)))


def _other(output: str, difference: str) -> TrainingError:
    return TrainingError(
        f"{output} holds a training with other settings ({difference}); choose another --output, or repeat its "
        "settings to go on with it"
    )


def _without_steps(value: Any) -> Any:
    """More steps may be asked of a training that is under way."""
    return {k: v for k, v in value.items() if k != "steps"} if isinstance(value, dict) else value


def _difference(name: str, before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        name = next(k for k in {**before, **after} if before.get(k) != after.get(k))
        before, after = before.get(name), after.get(name)
    return f"{name} was {before}, now {after}"
