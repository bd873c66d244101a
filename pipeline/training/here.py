"""A training's only worker in the driver's own process: the same steps, checkpoints and records as on a cluster."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from recast.pipeline import events
from recast.pipeline.ahead import ahead
from recast.pipeline.cores import cores
from recast.pipeline.progress import Progress
from recast.pipeline.training import example_files
from recast.pipeline.training.faults import comes_again
from recast.pipeline.training.patience import Patience
from recast.pipeline.training.preparation import Prepared
from recast.pipeline.training.progress import TrainingFacts, followed
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.worker import Job, Surroundings, Worker, sentence_of


class Here:
    """This process for a training, for as long as the block runs; its torch is left as it was found."""

    def __enter__(self) -> "Here":
        self.cores = cores()
        self._threads, self._random = torch.get_num_threads(), torch.get_rng_state()
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._threads)
        torch.set_rng_state(self._random)

    def fit(self, asked: Prepared, job: Job, progress: Progress) -> dict[str, Any]:
        """Run the worker, again where it met what may pass; returns what it told last.

        Raises:
            TrainingError: there is no such GPU, or the worker failed too often.
            Exception: what would come again, as the worker met it.
        """
        facts, patience = TrainingFacts(asked.start.step), Patience(asked.plan)
        log = events.driver_log(recipe=asked.plan.recipe, output=asked.plan.output, rank=0)
        device = _device(asked.plan)
        with followed(facts.facts, progress, asked.plan.output):
            while True:
                given = Surroundings(
                    device=device, assets=asked.assets, rows=_rows(asked), watch=facts, metrics=None, log=log
                )
                try:
                    with _group_of_one(device):
                        Worker(job, given).run()
                    return facts.facts()
                except Exception as fault:
                    log.error("worker failed", error=sentence_of(fault))
                    if comes_again(fault):
                        raise
                    patience.lost(sentence_of(fault), fault)


def _device(plan: TrainingSpec) -> torch.device:
    if plan.gpus_per_worker and not torch.cuda.is_available():
        raise TrainingError(
            f"--gpus-per-worker {plan.gpus_per_worker:g}: this machine has no GPU; leave it out to train on the CPU"
        )
    return torch.device("cuda", torch.cuda.current_device()) if plan.gpus_per_worker else torch.device("cpu")


@contextlib.contextmanager
def _group_of_one(device: torch.device) -> Iterator[None]:
    """A process group that is this process, without a network: a worker talks to all workers, be it to none."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _rows(asked: Prepared) -> Iterator[dict[str, Any]]:
    """The examples, read and decoded a little ahead of who takes them, in their order."""
    read = partial(example_files.read_row, images_per_example=asked.images_per_example, each_region=asked.each_region)
    with ThreadPoolExecutor(cores(), "read") as pool:
        yield from ahead(read, example_files.rows(asked.listing.examples), pool, 2 * cores())
