"""The group of workers that trains: what it asks the cluster for, and a new one as often as one is lost."""

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import ActorDiedError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

from recast.pipeline import cluster, events
from recast.pipeline.reasons import plural
from recast.pipeline.training.patience import Patience
from recast.pipeline.training.settings import TrainingError, TrainingSpec


def scaling(plan: TrainingSpec) -> ScalingConfig:
    """What to ask the cluster for, as it is now: nodes may have been lost since the training began."""
    cpus, gpus = cpus_per_worker(plan.workers), plan.gpus_per_worker
    return ScalingConfig(
        num_workers=plan.workers if plan.least_workers is None else (plan.least_workers, plan.workers),
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus},
        placement_strategy="PACK" if gpus else "SPREAD",  # each node's cores are its own workers'
    )


def cpus_per_worker(workers: int) -> float:
    """Logical CPUs to claim for each worker: at most half of all together, for Ray Data must find some to read with;
    and at most half of one each, for there must be room for all of them when nodes are lost."""
    return min(0.5, ray.cluster_resources().get("CPU", 1.0) / (2 * workers))


def run_config(scratch: str) -> RunConfig:
    """Every loss of workers comes to `fit_through_losses`: Ray Train would count all those of a training alike, and a
    month on spot machines has many; and it would leave a group that died while it started its claims."""
    return RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=0, controller_failure_limit=0))


def fit_through_losses(trainer: Callable[[str], TorchTrainer], plan: TrainingSpec, watch: Any) -> None:
    """Replace lost workers as often as it takes, as long as they reach another checkpoint in between.

    Args:
        trainer: makes a trainer of the cluster as it is, given a scratch folder.
        watch: a handle to the driver's `TrainingFacts`.

    Raises:
        TrainingError: lost too often without progress; it says why they were lost last. Or a worker met what every
            other would meet, too.
    """
    patience = Patience(plan)
    log = events.driver_log(recipe=plan.recipe, output=plan.output)
    while True:
        others = cluster.placement_groups()
        try:
            with tempfile.TemporaryDirectory(prefix="recast-train-") as scratch, _interruptible():
                trainer(scratch).fit()
            return
        except (TrainingFailedError, ActorDiedError) as fault:
            cluster.release(cluster.placement_groups() - others)
            if _lacks_resources(fault):
                least = plan.least_workers or plan.workers
                watch.tell.remote({"waiting": f"waiting for CPUs or GPUs for {plural(least, 'worker')}"})
                log.warning("waiting for workers", workers=least)
                continue
            if final := ray.get(watch.facts.remote())["final"]:
                raise TrainingError(final) from fault
            patience.lost(ray.get(watch.facts.remote())["fault"] or _reason(fault), fault)


def _lacks_resources(fault: Exception) -> bool:
    return isinstance(fault, ControllerError) and isinstance(fault.controller_failure, WorkerGroupStartupTimeoutError)


def _reason(fault: Exception) -> str:
    """For a loss that no worker had a word for."""
    if isinstance(fault, ControllerError):
        return str(fault).strip().splitlines()[-1]
    return "a worker died without a word; was memory short?"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ray Train answers SIGINT by leaving with status 0; let it be the KeyboardInterrupt that callers know."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as left:
        raise KeyboardInterrupt from left
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
