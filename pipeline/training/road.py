"""The training road: dataset -> batches -> recipe step -> checkpoint -> bundle, on a Ray cluster."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.data import ExecutionOptions
from ray.train import DataConfig
from ray.train.torch import TorchConfig, TorchTrainer

from recast.models import recipes
from recast.models.recipes.recipe import RecipeConfig
from recast.pipeline import cluster, events, storage
from recast.pipeline.deidentify.detection.brought import Brought
from recast.pipeline.training import example_files, groups
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.example_files import Example
from recast.pipeline.training.log import now, write_run
from recast.pipeline.training.plan import TrainingError, TrainingPlan
from recast.pipeline.training.provisions import Provisions, fetched
from recast.pipeline.training.spec import placed, resolved, same_provisions, started
from recast.pipeline.training.trouble import Trouble
from recast.pipeline.training.watch import Watch, shown
from recast.pipeline.training.worker import Job, work


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended."""

    output: str
    steps: int
    seconds: float
    """Of training alone, over all runs of it."""
    scalars: dict[str, float]
    """The last logged line."""
    warnings: tuple[Trouble, ...] = ()
    """What was seen to go wrong without ending the training."""
    unreadable: tuple[str, ...] = ()
    """Images of the data that could not be trained on, each with its fault."""
    already_done: bool = False


def train(plan: TrainingPlan, *, quiet: bool = False) -> Outcome:
    """Train to the last step, going on from the newest checkpoint in the output; a finished training is left alone.

    Raises:
        ValueError: no such recipe, preset or setting.
        StorageError: data or output can't be reached.
        TrainingError: unfit data, an output of another training, divergence, or workers lost too often.
    """
    config, plan = resolved(plan), placed(plan)
    with storage.faults_as_sentences(f"reading {plan.output}"):
        run = started(plan, config)
        reached = max(Checkpoints(plan.output).steps(), default=0)
    if reached >= config.steps and run.get("status") == "finished":
        return Outcome(output=plan.output, steps=reached, seconds=run["seconds"], scalars={}, already_done=True)
    log = events.driver_log(recipe=plan.recipe, output=plan.output)
    log.info("run begun", data=plan.data, step=reached, steps=config.steps)
    recipe = recipes.RECIPES[plan.recipe].recipe
    found, table = _listed(plan, config)
    classes = example_files.classes(found) if recipe.labelled else ()
    provisions = fetched(plan, classes, faces=table.name if table else "")
    same_provisions(run, provisions.digests)
    counts = {"examples": len(found), "parameters": _parameters(plan, config, provisions)}
    run |= {"status": "running", "counts": counts, "provisions": dict(provisions.digests)}
    with storage.faults_as_sentences(f"writing {plan.output}"):
        write_run(plan.output, run)
    with cluster.connected():
        run |= _threads(plan, run)
        write_run(plan.output, run)
        try:
            facts = _fit(plan, config, found, provisions, run, quiet)
        except BaseException as fault:
            why = str(fault) or type(fault).__name__
            write_run(plan.output, {**run, "status": "failed", "finished_at": now(), "problem": why})
            raise
    run["counts"] |= {"unreadable": len(facts["unreadable"])}
    finished = {"finished_at": now(), "steps": facts["step"], "seconds": facts["seconds"]}
    finished["warnings"] = [asdict(trouble) for trouble in facts["warnings"]]
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


def _listed(plan: TrainingPlan, config: RecipeConfig) -> tuple[list[Example], Brought | None]:
    """The examples, and the table of faces where they come with one. Raises ValueError for one too many or too few."""
    recipe = recipes.RECIPES[plan.recipe].recipe
    if bool(recipe.faces) != bool(plan.faces):
        raise ValueError(
            f"{plan.recipe} needs --faces, a table of the faces in the images"
            if recipe.faces
            else f"{plan.recipe} has no use for --faces"
        )
    if not recipe.faces:
        images = recipe.images_in(config)
        return example_files.listed(plan.data, images, paired=recipe.paired, labelled=recipe.labelled), None
    table = Brought(plan.faces)
    each = recipe.faces == "each"
    return example_files.listed_faces(plan.data, table, each=each, labelled=recipe.labelled), table


def _parameters(plan: TrainingPlan, config: RecipeConfig, provisions: Provisions) -> dict[str, int]:
    """By network; on the way everything is tried that needs no worker. Raises ValueError or TrainingError."""
    recipe = recipes.build(plan.recipe, config, provisions.supplies)
    provisions.begin(recipe.networks[recipe.product.part], recipe.product)
    return {name: sum(p.numel() for p in network.parameters()) for name, network in recipe.networks.items()}


def _fit(
    plan: TrainingPlan,
    config: RecipeConfig,
    found: list[Example],
    provisions: Provisions,
    run: Mapping[str, Any],
    quiet: bool,
) -> dict[str, Any]:
    """Run the workers, replacing lost ones; returns what the watch was told last."""
    least = plan.least_workers or plan.workers
    cpus = groups.cpus_per_worker(plan.workers)
    cluster.demand(least, cpus, plan.gpus_per_worker, f"a training with {least} workers")
    watch = ray.remote(Watch).options(**cluster.lasting()).remote()
    job = Job(
        plan=plan,
        config=config,
        provisions=ray.put(provisions),
        threads=run["threads_per_worker"],
        watch=watch,
        versions=run["versions"],
    )
    recipe = recipes.RECIPES[plan.recipe].recipe
    rows = example_files.dataset(found, plan.sizes_multiple, recipe.images_in(config), each_face=recipe.faces == "each")

    def trainer(scratch: str) -> TorchTrainer:
        return TorchTrainer(
            work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if plan.gpus_per_worker else "gloo"),
            scaling_config=groups.scaling(plan),
            run_config=groups.run_config(scratch),
            datasets={"examples": rows},
            dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        )

    with shown(watch, plan.output, config.steps, quiet):
        groups.fit_through_losses(trainer, plan, watch)
    return _checked(ray.get(watch.facts.remote()), config.steps)


def _checked(facts: dict[str, Any], steps: int) -> dict[str, Any]:
    """Raises TrainingError where the workers stopped before the last step, with what they said."""
    if facts["problem"]:
        raise TrainingError(facts["problem"])
    if facts["step"] < steps:
        raise TrainingError(f"the training stopped at step {facts['step']} of {steps}; run it again to go on")
    return facts


def _threads(plan: TrainingPlan, run: Mapping[str, Any]) -> dict[str, int]:
    """Tensor threads of each worker: as before with as many, or as asked for, or for workers that share all cores."""
    workers = plan.least_workers or plan.workers
    before = run.get("threads_per_worker") if run.get("least_workers") == workers else None
    threads = before or plan.threads_per_worker or max(1, cluster.cores() // workers)
    return {"threads_per_worker": threads, "least_workers": workers}
