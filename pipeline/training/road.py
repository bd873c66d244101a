"""The training road: dataset -> batches -> recipe step -> checkpoint -> bundle, on a Ray cluster."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.data import ExecutionOptions
from ray.train import DataConfig
from ray.train.torch import TorchConfig, TorchTrainer

from recast.models import recipes
from recast.pipeline import cluster, events, storage
from recast.pipeline.output.lease import Lease
from recast.pipeline.progress import Progress, Silent
from recast.pipeline.training import example_files, groups
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.health import HealthWarning
from recast.pipeline.training.log import now, write_run
from recast.pipeline.training.preparation import Prepared, prepared
from recast.pipeline.training.progress import ProgressActor, followed
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.spec import Start
from recast.pipeline.training.worker import Job, work


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended."""

    output: str
    steps: int
    seconds: float
    """Seconds of training alone, over all runs of it."""
    scalars: dict[str, float]
    """The last logged line."""
    warnings: tuple[HealthWarning, ...] = ()
    """What was seen to go wrong without ending the training."""
    unreadable: tuple[str, ...] = ()
    """Images of the data that could not be trained on, each with its fault."""
    already_done: bool = False


def train(plan: TrainingSpec, progress: Progress | None = None) -> Outcome:
    """Train to the last step, going on from the newest checkpoint in the output; a finished training is left alone.

    Args:
        progress: who watches; None: nobody.

    Raises:
        SettingError: no such recipe, preset or setting, or something that the recipe needs or has no use for.
        StorageError: data or output can't be reached.
        LeaseError: another training writes the output, or took it over.
        TrainingError: unfit data, an output of another training, divergence, or workers lost too often.
    """
    asked = prepared(plan)
    if isinstance(asked, Start):
        seconds = asked.run["seconds"]
        return Outcome(output=plan.output, steps=asked.step, seconds=seconds, scalars={}, already_done=True)
    fs, root = storage.filesystem(asked.plan.output)
    with Lease(fs, root, asked.run["started_at"]) as lease:
        if (there := max(Checkpoints(plan.output).steps(), default=0)) != asked.start.step:
            raise TrainingError(
                f"another training has just brought {plan.output} to step {there:,}; run this one again to go on "
                "from there"
            )
        return _trained(asked, lease, progress or Silent())


def _trained(asked: Prepared, lease: Lease, progress: Progress) -> Outcome:
    plan, config, run = asked.plan, asked.config, asked.run
    log = events.driver_log(recipe=plan.recipe, output=plan.output)
    log.info("run begun", data=plan.data, step=asked.start.step, steps=config.steps)
    for sentence in asked.said:
        progress.says(sentence)
    with storage.faults_as_sentences(f"writing {plan.output}"):
        write_run(plan.output, run)
    scratch = tempfile.TemporaryDirectory(prefix="recast-train-", ignore_cleanup_errors=True)
    with scratch as folder, cluster.connected():  # the folder goes when the workers have gone
        run |= _threads(plan, run)
        write_run(plan.output, run)
        try:
            facts = _fit(asked, run, lease, progress, folder)
        except BaseException as fault:
            lease.check()  # else run.json is another's now
            interrupted = isinstance(fault, KeyboardInterrupt)
            why = "interrupted" if interrupted else str(fault) or type(fault).__name__
            write_run(plan.output, {**run, "status": "failed", "finished_at": now(), "problem": why})
            raise
    run["counts"] |= {"unreadable": len(facts["unreadable"])}
    finished = {"finished_at": now(), "steps": facts["step"], "seconds": facts["seconds"]}
    finished["warnings"] = [asdict(warning) for warning in facts["warnings"]]
    lease.check()
    write_run(plan.output, {**run, **finished, "status": "finished"})
    log.info("run finished", **finished)
    return Outcome(
        output=plan.output,
        steps=facts["step"],
        seconds=facts["seconds"],
        scalars=facts["scalars"],
        warnings=tuple(facts["warnings"]),
        unreadable=tuple(facts["unreadable"]),
    )


def _fit(asked: Prepared, run: Mapping[str, Any], lease: Lease, progress: Progress, scratch: str) -> dict[str, Any]:
    """Run the workers, replacing lost ones; returns what the watch was told last."""
    plan, config = asked.plan, asked.config
    least = plan.least_workers or plan.workers
    cpus = groups.cpus_per_worker(plan.workers)
    cluster.demand(least, cpus, plan.gpus_per_worker, f"a training with {least} workers")
    watch = ray.remote(ProgressActor).options(**cluster.driver_node_options()).remote(asked.start.step)
    job = Job(
        plan=plan,
        config=config,
        assets=ray.put(asked.assets),
        threads=run["threads_per_worker"],
        watch=watch,
        claim=lease.claim,
        versions=run["versions"],
        scratch=scratch,
    )
    recipe = recipes.RECIPES[plan.recipe].recipe
    rows = example_files.dataset(
        asked.listing.examples, plan.sizes_multiple, recipe.images_in(config), each_region=recipe.regions == "each"
    )

    def trainer(storage_path: str) -> TorchTrainer:
        return TorchTrainer(
            work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if plan.gpus_per_worker else "gloo"),
            scaling_config=groups.scaling(plan),
            run_config=groups.run_config(storage_path),
            datasets={"examples": rows},
            dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        )

    progress.planned(config.steps, asked.start.step)
    with followed(watch, progress, plan.output):
        groups.fit_through_losses(trainer, plan, watch)
    return _checked(ray.get(watch.facts.remote()), config.steps)


def _checked(facts: dict[str, Any], steps: int) -> dict[str, Any]:
    """Raises TrainingError where the workers stopped before the last step, with what they said."""
    if facts["problem"]:
        raise TrainingError(facts["problem"])
    if facts["step"] < steps:
        raise TrainingError(f"the training stopped at step {facts['step']} of {steps}; run it again to go on")
    return facts


def _threads(plan: TrainingSpec, run: Mapping[str, Any]) -> dict[str, int]:
    """Tensor threads of each worker: as before with as many, or as asked for, or for workers that share all cores."""
    workers = plan.least_workers or plan.workers
    before = run.get("threads_per_worker") if run.get("least_workers") == workers else None
    threads = before or plan.threads_per_worker or max(1, cluster.cores() // workers)
    return {"threads_per_worker": threads, "least_workers": workers}
