"""A training's workers on a Ray cluster: Ray Train starts them, Ray Data reads their examples."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.data import ExecutionOptions
from ray.train import DataConfig
from ray.train.torch import TorchConfig, TorchTrainer

from recast.pipeline import cluster, events
from recast.pipeline.progress import Progress
from recast.pipeline.training import example_files, groups
from recast.pipeline.training.faults import comes_again
from recast.pipeline.training.health import HealthWarning
from recast.pipeline.training.layouts import Example
from recast.pipeline.training.metrics import TrainingMetrics
from recast.pipeline.training.preparation import Prepared
from recast.pipeline.training.progress import TrainingFacts, followed
from recast.pipeline.training.worker import Job, Surroundings, Worker, sentence_of

READ_CPUS = 0.25
"""Logical CPUs of a task that reads and decodes; little, so that the workers' claims can't starve it."""
LEAST_BLOCKS = 16
"""Blocks of the data set, so many that reading spreads over the cluster."""


class OnRay:
    """A cluster for a training, for as long as the block runs."""

    def __enter__(self) -> "OnRay":
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(cluster.connected())
        self.cores = cluster.cores()
        return self

    def __exit__(self, *ending: Any) -> bool | None:
        return self._stack.__exit__(*ending)

    def fit(self, asked: Prepared, job: Job, progress: Progress) -> dict[str, Any]:
        """Run the workers, replacing lost ones; returns what the driver was told last.

        Raises:
            ClusterError: the cluster can't hold them.
            TrainingError: they were lost too often.
        """
        plan = asked.plan
        least = plan.least_workers or plan.workers
        cpus = groups.cpus_per_worker(plan.workers)
        cluster.demand(least, cpus, plan.gpus_per_worker, f"a training with {least} workers")
        watch = ray.remote(TrainingFacts).options(**cluster.driver_node_options()).remote(asked.start.step)
        told = {"job": job, "watch": watch, "assets": ray.put(asked.assets)}
        with followed(lambda: _facts(watch), progress, plan.output):
            groups.fit_through_losses(_trainer(asked, told), plan, watch)
        facts: dict[str, Any] = ray.get(watch.facts.remote())
        return facts


class RemoteWatch:
    """The driver's `TrainingFacts` as workers see it."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    def tell(self, facts: dict[str, Any]) -> object:
        return self._watch.tell.remote(facts)

    def warn(self, warning: HealthWarning) -> object:
        return self._watch.warn.remote(warning)


def work(told: dict[str, Any]) -> None:
    """Train from the newest checkpoint to the last step; the function that Ray Train runs in each worker."""
    job: Job = told["job"]
    log = events.log(recipe=job.plan.recipe, output=job.plan.output, rank=ray.train.get_context().get_world_rank())
    try:
        given = Surroundings(
            device=ray.train.torch.get_device(),
            assets=ray.get(told["assets"]),
            rows=ray.train.get_dataset_shard("examples").iter_rows(),
            watch=RemoteWatch(told["watch"]),
            metrics=TrainingMetrics(job.plan.recipe, job.plan.output),
            log=log,
        )
        Worker(job, given).run()
    except Exception as fault:
        said = {"fault": sentence_of(fault)} | ({"final": sentence_of(fault)} if comes_again(fault) else {})
        ray.get(told["watch"].tell.remote(said))  # it must arrive before the driver hears of the loss
        log.error("worker failed", error=sentence_of(fault))
        raise


def _trainer(asked: Prepared, told: dict[str, Any]) -> Callable[[str], TorchTrainer]:
    plan = asked.plan
    rows = dataset(asked.listing.examples, plan.sizes_multiple, asked.images_per_example, each_region=asked.each_region)

    def trainer(storage_path: str) -> TorchTrainer:
        return TorchTrainer(
            work,
            train_loop_config=told,
            torch_config=TorchConfig(backend="nccl" if plan.gpus_per_worker else "gloo"),
            scaling_config=groups.scaling(plan),
            run_config=groups.run_config(storage_path),
            datasets={"examples": rows},
            dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        )

    return trainer


def dataset(
    examples: Sequence[Example], multiple: int, images_per_example: int, *, each_region: bool = False
) -> ray.data.Dataset:
    """Rows that hold decoded images, one an example; the first repeat up to a multiple of so many, so that workers get
    equally many each."""
    missing = -len(examples) % multiple
    named = example_files.rows([*examples, *(examples[i % len(examples)] for i in range(missing))])
    blocks = min(len(named), max(LEAST_BLOCKS, len(named) // 64))
    how = {"images_per_example": images_per_example, "each_region": each_region}
    return ray.data.from_items(named, override_num_blocks=blocks).map(
        example_files.read_row, fn_kwargs=how, num_cpus=READ_CPUS
    )


def _facts(watch: Any) -> dict[str, Any] | None:
    with contextlib.suppress(ray.exceptions.RayError):
        facts: dict[str, Any] = ray.get(watch.facts.remote(), timeout=5)
        return facts
    return None
