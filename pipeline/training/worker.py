"""One worker of a training: its share of the examples, its part of every batch; the first also keeps the records."""

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from structlog.typing import FilteringBoundLogger
from torch import Tensor

from recast.models import recipes
from recast.models.metrics.lpips import LPIPS
from recast.models.networks.vgg import vgg_of
from recast.models.recipes.recipe import RecipeConfig
from recast.pipeline import storage
from recast.pipeline.output.lease import Claim, LeaseError, confirm
from recast.pipeline.reasons import plural
from recast.pipeline.training.assets import TrainingAssets
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.example_files import not_side_by_side, read_row
from recast.pipeline.training.examples import ExampleCache, ExampleSampler, fixed_samples, spread
from recast.pipeline.training.health import WAITING, HealthMonitor
from recast.pipeline.training.idle import Idle
from recast.pipeline.training.progress import Teller, Watch
from recast.pipeline.training.records import Records
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from recast.pipeline.training.validation import Standing, Validation

T = TypeVar("T")

SEEDS = 1 << 64
STEP_SEED_STRIDE = 1_000_003
"""A prime, so that no two of (seed, step) share a seed in practice."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every worker is told."""

    plan: TrainingSpec
    config: RecipeConfig
    threads: int
    """Threads of one worker's tensor operations on a CPU."""
    claim: Claim
    """What the first worker shows before it publishes or deletes: the driver's turn to write the output."""
    versions: dict[str, str]
    images_per_example: int
    held_out: tuple[dict[str, Any], ...]
    """The examples that are validated on, as `example_files.rows` gives them."""
    scratch: str
    """The driver's folder for temporary files, which it removes; a worker beside it that is killed removes none."""


class Metrics(Protocol):
    """Who is told of what a monitor shows."""

    def logged(self, step: int, scalars: Mapping[str, float]) -> None: ...
    def checkpointed(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a worker finds where it runs: on a cluster, or in the driver's own process."""

    device: torch.device
    assets: TrainingAssets
    rows: Iterable[dict[str, Any]]
    """This worker's examples, as `example_files.read_row` gives them."""
    watch: Watch
    metrics: Metrics | None
    log: FilteringBoundLogger


def sentence_of(fault: Exception) -> str:
    """What a worker that failed says of it."""
    if isinstance(fault, (TrainingError, LeaseError, storage.StorageError)):
        return str(fault)
    return storage.sentence(fault) if storage.is_storage_fault(fault) else f"{type(fault).__name__}: {fault}"


class Worker:
    """Rank, recipe, road, examples and, in the first worker, the records."""

    def __init__(self, job: Job, given: Surroundings) -> None:
        """In a process group that has been begun, be it of one."""
        self.job, self.plan, self.config, self.given = job, job.plan, job.config, given
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        torch.set_num_threads(job.threads)
        torch.manual_seed(self.plan.seed)
        self.assets = given.assets
        self.recipe = recipes.build(self.plan.recipe, self.config, self.assets.assets)
        exported = self.recipe.exported
        self.assets.begin(self.recipe.networks[exported.name], exported)
        self.road = WorkerRoad(
            self.recipe,
            self.plan,
            device=given.device,
            ema_decay=self.config.ema_decay,
            batch_size=self.config.batch_size,
            world=self.world,
            rank=self.rank,
        )
        self.checkpoints = Checkpoints(self.plan.output, job.scratch if os.path.isdir(job.scratch) else None)
        self.log = given.log
        self.seconds = 0.0
        self.newest = 0
        """The step of the newest checkpoint; 0: none yet."""
        self.standing = self._standing({})
        self.teller = Teller(given.watch if self.rank == 0 else None, given.log)

    def run(self) -> None:
        draw = self._draw()
        if draw is None:
            return
        self.newest = start = self._resume()
        self.log.info("training goes on" if start else "training begins", step=start, workers=self.world)
        self.teller.tell(step=start, seconds=self.seconds, fault="", waiting="")
        if start < self.config.steps and self._is_enough(self.standing.since_best):
            # It was lost before it could say so.
            self.teller.tell(stopped=self._stopped(start))
            return
        with contextlib.ExitStack() as stack:
            records = stack.enter_context(self._records(draw.shard)) if self.rank == 0 else None
            self._train(draw, start, records)

    def _records(self, shard: ExampleCache) -> Records:
        samples = fixed_samples(self.recipe, shard, spread(shard, self.plan.sample_rows))
        return Records(
            self.plan,
            self.config,
            self.recipe,
            self.road,
            self.checkpoints,
            samples,
            self.job.versions,
            self.assets,
            partial(confirm, *storage.filesystem(self.plan.output), self.job.claim),
            self._validation(),
        )

    def _validation(self) -> Validation | None:
        """The examples that the first worker measures at each checkpoint; None without any."""
        if not self.job.held_out:
            return None
        read = [read_row(row, self.job.images_per_example) for row in self.job.held_out]
        shard = ExampleCache(read, self.plan.cache_bytes, with_labels=self.recipe.labelled)
        if shard.unfit:
            raise TrainingError(not_side_by_side(shard.unfit, len(shard)))
        if shard.unreadable:
            few = plural(len(shard.unreadable), "validation example")
            self.teller.warn("validation", 0, f"{few} left out, which can't be read: {shard.unreadable[0]}")
        weights = self.assets.assets.loss_network
        return Validation(self.recipe, shard, self.standing, LPIPS(vgg_of(weights)) if weights else None)

    def _standing(self, kept: Mapping[str, Any]) -> Standing:
        """How the checkpoints have done so far, by what one of them kept."""
        return Standing.after(self.job.held_out, kept, by="" if self.recipe.has_target else self.assets.judge)

    def _draw(self) -> ExampleSampler | None:
        """This worker's examples; none if any worker can't use its own, which the driver is told."""
        shard, problem = None, ""
        try:
            shard = ExampleCache(
                self.given.rows,
                self.plan.cache_bytes,
                region_columns=self.assets.assets.columns(type(self.recipe)),
                with_masks=self.recipe.masks_in(self.config),
                with_labels=self.recipe.labelled,
            )
            shard.try_out(self.recipe)
        except TrainingError as fault:
            problem = str(fault)
        unfit = [name for names in self._gathered(shard.unfit if shard else []) for name in names]
        if unfit:
            among = sum(self._gathered(len(shard) if shard else 0))
            problem = not_side_by_side(sorted(set(unfit)), among)
        if not self._agreed(problem) or shard is None:
            return None
        self.teller.tell(unreadable=[name for names in self._gathered(shard.unreadable) for name in names])
        noted = sum(self._gathered(shard.notes), Counter())
        if noted:
            sentences = (f"{plural(noted[note], 'example')}: {note}" for note in sorted(noted))
            self.teller.warn("pixels", 0, "; ".join(sentences))
        return ExampleSampler(
            shard=shard,
            recipe=self.recipe,
            seed=self.plan.seed,
            rank=self.rank,
            batch_size=len(range(self.rank, self.config.batch_size, self.world)),
        )

    def _agreed(self, problem: str) -> bool:
        """Whether no worker has a problem. All must ask, else the others would wait for ever for the one that left."""
        first = next(filter(None, self._gathered(problem)), "")
        self.teller.tell(problem=first)
        return not first

    def _gathered(self, own: T) -> list[T]:
        """What every worker has, by rank; all must call it together."""
        everybodys: list[T] = [own] * self.world
        dist.all_gather_object(everybodys, own)
        return everybodys

    def _resume(self) -> int:
        """Load the newest checkpoint, if there is one; returns the step to go on with, the same in every worker."""
        newest = [self._newest() if self.rank == 0 else 0]
        dist.broadcast_object_list(newest, src=0)
        (start,) = newest
        if start:
            state = self.checkpoints.load(start)
            self.road.load(state)
            self.seconds = state["seconds"]
            self.standing = self._standing(state.get("validation", {}))
            before, recipe_states = state["workers"], state["recipes"]
            if before == self.world:
                self.recipe.load_state_dict(recipe_states[self.rank], self.road.device)
            else:
                self.teller.warn(
                    "workers",
                    start,
                    f"the training continues with {plural(self.world, 'worker')} after {before}: as correct as before, "
                    "but its weights are no longer bit for bit those of a training that was left alone",
                )
        return start

    def _newest(self) -> int:
        """The newest checkpoint that can be read; 0 where there is none. Damaged ones are told of, and left alone."""
        steps = self.checkpoints.steps()
        damages: list[TrainingError] = []
        for step in reversed(steps):
            try:
                self.checkpoints.load(step)
            except TrainingError as fault:
                damages.append(fault)
            else:
                for damage in damages:
                    self.teller.warn("damaged", step, f"{damage}. The one before it serves")
                return step
        if damages:
            raise damages[0]
        return 0

    def _train(self, draw: ExampleSampler, start: int, records: Records | None) -> None:
        plan, last = self.plan, self.config.steps
        seen: dict[str, list[Tensor]] = {}
        idle, monitor = Idle(self.road.device), HealthMonitor()
        steps, began = 0, time.monotonic()
        for step, batch in enumerate(draw.batches(start, last), start):
            torch.manual_seed((plan.seed * STEP_SEED_STRIDE + step) * STEP_SEED_STRIDE % SEEDS)  # in all workers alike
            idle.step_begins()
            scalars = self.road.step(batch, step)
            idle.step_ends()
            for name, value in scalars.items():
                seen.setdefault(name, []).append(value)
            done, steps = step + 1, steps + 1
            checkpoint = done % plan.checkpoint_every == 0 or done == last
            if not (checkpoint or done % plan.log_every == 0):
                self.teller.between(done, steps * self.config.batch_size / (time.monotonic() - began))
                continue
            means = self._means(seen)
            if not self._healthy(means, done, checkpoint):
                return
            elapsed = time.monotonic() - began
            self.seconds += elapsed
            means |= {"lr": self.road.lr, "images_per_s": steps * self.config.batch_size / elapsed}
            means[WAITING] = self._largest(idle.seconds() / elapsed)
            self.teller.tell(step=done, seconds=self.seconds, scalars=means)
            for warning in monitor.look(done, means):
                self.teller.warn(warning.kind, warning.step, warning.sentence)
            if ending := monitor.ending():
                self.teller.tell(problem=ending)
                return
            self.newest = done if checkpoint else self.newest
            recipe_states = self._gathered(self.recipe.state_dict()) if checkpoint else []
            if records and checkpoint and (scores := records.validated()):
                means |= scores
                self.teller.tell(scalars=means)
            if records:
                records.log(done, means)
                if self.given.metrics:
                    self.given.metrics.logged(done, means)
                if checkpoint:
                    if self.given.metrics:
                        self.given.metrics.checkpointed()
                    self.log.info("checkpoint begun", step=done, **means)
                    facts = {"seconds": self.seconds, "workers": self.world, "recipes": recipe_states}
                    records.checkpoint(done, facts)
            # The first worker alone measures.
            since_best = self._gathered(self.standing.since_best)[0] if checkpoint and plan.stop_after else 0
            if done < last and self._is_enough(since_best):
                self.teller.tell(stopped=self._stopped(done))
                return
            seen, steps, began = {}, 0, time.monotonic()

    def _is_enough(self, since_best: int) -> bool:
        """Whether so many checkpoints without a better one are as many as --stop-after says."""
        return self.plan.stop_after is not None and since_best >= self.plan.stop_after

    def _stopped(self, step: int) -> str:
        return (
            f"stopped at step {step:,} of {self.config.steps:,}: no better on the validation examples for "
            f"{plural(self.plan.stop_after or 0, 'checkpoint')}; the best network is in bundle/best"
        )

    def _means(self, seen: dict[str, list[Tensor]]) -> dict[str, float]:
        """Means over the last steps that had them and over all workers; one exchange for all names."""
        values = self.road.mean(torch.stack([torch.stack(values).float().mean() for values in seen.values()]))
        return dict(zip(seen, values.tolist(), strict=True))

    def _largest(self, value: float) -> float:
        """Over all workers, which wait for the slowest of them."""
        largest = torch.tensor(value, device=self.road.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return float(largest)

    def _healthy(self, means: dict[str, float], step: int, checkpoint: bool) -> bool:
        """Whether losses are finite, and weights too where they are about to be kept; the driver is told otherwise."""
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if not bad and checkpoint and not self.road.finite():
            bad = ["a weight"]
        if bad:
            problem = f"the training diverged: {bad[0]} is no longer finite at step {step}. {self._way_on()}"
            self.teller.tell(problem=problem)
        return not bad

    def _way_on(self) -> str:
        """What to do about a divergence, as a command that works."""
        remedy = f"--set learning_rate={self.config.learning_rate / 4:g}"
        remedy += "" if self.plan.precision == "fp32" else ", or --precision fp32"
        if not self.newest:
            return f"There is no checkpoint yet: begin again with the same command and {remedy}"
        return (
            f"The newest checkpoint, of step {self.newest:,}, is from before that: resume from there with the same "
            f"command, --resume-with and {remedy}"
        )
