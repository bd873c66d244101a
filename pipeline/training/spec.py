"""What decides a training: its settings with everything resolved, and whether an output holds this very training."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recast.models import recipes
from recast.models.recipes.ranges import SettingError
from recast.models.recipes.recipe import RecipeConfig
from recast.pipeline import storage
from recast.pipeline.reasons import plural
from recast.pipeline.training.example_files import Listing
from recast.pipeline.training.log import now, read_run
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.urls import shown
from recast.pipeline.versions import versions

DECIDES_WEIGHTS = ("recipe", "config", "seed", "precision", "sync_batchnorm")
"""Entries of run.json's spec that a training can't change on the way."""
OF_ONE_RUN = ("problem", "warnings", "stopped_early")
"""What run.json says of the last run alone."""


def placed(plan: TrainingSpec) -> TrainingSpec:
    """The plan with its preset named, and local paths absolute, for workers have working directories of their own."""
    named: dict[str, Any] = {"preset": plan.preset or next(iter(recipes.RECIPES[plan.recipe].presets))}
    named |= {name: _absolute(url) for name, url in plan.places.items()}
    named["inputs"] = {name: _absolute(url) for name, url in plan.inputs.items()}
    return dataclasses.replace(plan, **named)


def _absolute(url: str) -> str:
    return url if "://" in url else storage.filesystem(url)[1]


def resolved(plan: TrainingSpec) -> RecipeConfig:
    """The recipe's settings: the preset, what the plan overrides, and its steps. Raises SettingError."""
    steps = {} if plan.steps is None else {"steps": plan.steps}
    config = recipes.configured(plan.recipe, plan.preset or "", {**plan.overrides, **steps})
    if config.batch_size // config.shares < plan.workers * plan.accumulate:
        shares = f", for each of its {config.shares} shares" if config.shares > 1 else ""
        raise SettingError(
            f"batch_size is {config.batch_size}; it must be at least workers x accumulate, "
            f"{plan.workers} x {plan.accumulate}{shares}"
        )
    return config


def spec(plan: TrainingSpec, config: RecipeConfig) -> dict[str, Any]:
    """The plan with everything resolved, as run.json keeps it: without secrets of URLs."""
    return shown(json.loads(json.dumps({**dataclasses.asdict(plan), "config": dataclasses.asdict(config)})))


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a training begins or goes on, and what its output says of it."""

    step: int
    """The step of the newest checkpoint; 0 where there is none."""
    run: dict[str, Any]
    """The run.json to go on with."""
    data: str = ""
    """Where the data were until now."""
    finished: bool = False
    """Whether there is nothing left to do."""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Settings that decide the weights and are others from now on: before and now, by name."""
    said: tuple[str, ...] = ()
    """Sentences."""


def started(plan: TrainingSpec, config: RecipeConfig, reached: int) -> Start:
    """What an output with a checkpoint of step `reached` (0: none) has to say. One without any locks nothing.

    Raises:
        TrainingError: the output is another training's, and `resume_with` wasn't asked for.
    """
    wanted, earlier = spec(plan, config), read_run(plan.output)
    before = earlier.get("spec", {}) if reached else {}
    changes = _changes(before, wanted) if before else {}
    if changes and (not plan.resume_with or "recipe" in changes):
        raise _other(plan, reached, changes)
    run = {name: value for name, value in earlier.items() if reached and name not in OF_ONE_RUN}
    run |= {"recipe": plan.recipe, "preset": plan.preset, "spec": wanted, "versions": versions()}
    run["started_at"] = run.get("started_at", now())
    data = origin(before or wanted)
    stopped = earlier.get("stopped_early") and plan.stop_after == before.get("stop_after")
    done = bool(reached) and (reached >= config.steps or bool(stopped)) and earlier.get("status") == "finished"
    if done and data == origin(wanted) and not changes:
        return Start(step=reached, run=run, finished=True, said=("this training is finished already",))
    said = [f"resuming from step {reached:,}"] if reached else []
    steps = before.get("config", {}).get("steps", config.steps)
    if steps != config.steps:
        said.append(
            f"steps were {steps:,} and are {config.steps:,} now: the learning rate follows a schedule over all steps, "
            "which is another one from here on"
        )
    start = Start(step=reached, run=run, data=data, said=tuple(said))
    return _noted(start, changes) if changes else start


def origin(said: Mapping[str, Any]) -> str:
    """Tells where a training's images come from, by its spec in run.json."""
    return said.get("data") or f"{said.get('data_a')} and {said.get('data_b')}"


def same_data(start: Start, plan: TrainingSpec, listing: Listing) -> Start:
    """The start, with its data looked at: in another place they may be the same, in the same place they may be others.

    Raises:
        TrainingError: they are in another place, and not the same.
    """
    known, place = start.run.get("listing", {}), origin(start.run["spec"])
    facts = {"digest": listing.digest, "examples": len(listing.examples)}
    looked_at = replace(start, run=start.run | {"listing": facts})
    if not start.step or known.get("digest") == listing.digest:
        return looked_at
    if start.data != place:
        changes = {"data": (start.data, place)}
        if not plan.resume_with:
            raise _other(plan, start.step, changes)
        return _noted(looked_at, changes)
    if not known:
        return looked_at
    said = (
        f"the data have changed since this training was begun ({plural(known['examples'], 'example')} then, "
        f"{len(listing.examples):,} now): it continues with them, and its weights will not be those of a training that "
        "was left alone"
    )
    changed = [*start.run.get("data_changed_at_steps", ()), start.step]
    return replace(start, run=looked_at.run | {"data_changed_at_steps": changed}, said=(*start.said, said))


def same_provisions(start: Start, plan: TrainingSpec, digests: Mapping[str, str]) -> Start:
    """Raises TrainingError if a training was begun with other supplies than these."""
    before = start.run.get("provisions", digests) if start.step else digests
    changes = {n: (before.get(n), digests.get(n)) for n in {**before, **digests} if before.get(n) != digests.get(n)}
    if changes and not plan.resume_with:
        raise _other(plan, start.step, changes)
    return _noted(start, changes) if changes else start


def _noted(start: Start, changes: Mapping[str, tuple[Any, Any]]) -> Start:
    """The start with settings that hold from here on, on record."""
    words = ", ".join(f"{name} {after} (before: {before})" for name, (before, after) in changes.items())
    record = {"step": start.step, "changed": {name: list(pair) for name, pair in changes.items()}}
    run = start.run | {"resumed_with": [*start.run.get("resumed_with", ()), record]}
    said = (*start.said, f"from step {start.step:,} on with {words}")
    return replace(start, run=run, changes={**start.changes, **changes}, said=said)


def _other(plan: TrainingSpec, reached: int, changes: Mapping[str, tuple[Any, Any]]) -> TrainingError:
    words = ", ".join(f"{name} was {before}, now {after}" for name, (before, after) in changes.items())
    onward = "" if "recipe" in changes else f", add --resume-with to resume from step {reached:,} with the new ones"
    return TrainingError(
        f"{plan.output} holds a training with other settings ({words}); choose another --output{onward}, or repeat its "
        "settings to resume it"
    )


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What of the settings that decide the weights is another; more steps may always be asked for."""
    changes: dict[str, tuple[Any, Any]] = {}
    for name in DECIDES_WEIGHTS:
        old, new = before.get(name), after.get(name)
        if name == "config" and isinstance(old, dict) and isinstance(new, dict):
            old = {recipes.FORMER_NAMES.get(key, key): value for key, value in old.items()}
            names = [key for key in {**old, **new} if key != "steps"]
            changes |= {key: (old.get(key), new.get(key)) for key in names if old.get(key) != new.get(key)}
        elif old != new:
            changes[name] = (old, new)
    return changes
