"""The whole training road against its ceiling: `python -m tests.benchmarks.training_road`.

The ceiling: as many bare processes as there are workers, one thread each, that take the same steps with the same
exchange of gradients on one resident batch. The product: `recast.pipeline.training.road.train` on files, augmentation,
logs, sample grids and checkpoints. In between, to tell the road's own code from Ray's processes, which share the cores:
the bare processes with the road's examples, read, augmented and drawn as in the product. All are medians of twenty
steps' means; the ceiling is taken before and after.
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from recast.jobs.samples.facades import write_facades
from recast.models import recipes
from recast.models.recipes import NOTHING
from recast.models.recipes.phases import Batch
from recast.pipeline import cluster
from recast.pipeline.training import example_files, road
from recast.pipeline.training.examples import ExampleCache, ExampleSampler
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad

WORKERS, STEPS, LINE_STEPS, EXAMPLES = 2, 160, 20, 64
RECIPE, PRESET = "pix2pix", "demo"


def bare(rank: int, folder: str, data: str) -> None:
    """Steps on a resident batch, or on examples drawn from data; the first process leaves its images per second."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORKERS)
    config = recipes.configured(RECIPE, PRESET)
    recipe = recipes.build(RECIPE, config, NOTHING)
    bare_road = WorkerRoad(
        recipe, TrainingSpec(recipe=RECIPE, data="data", output="out"), device=torch.device("cpu"),
        ema_decay=config.ema_decay, batch_size=config.batch_size, world=WORKERS, rank=rank,
    )  # fmt: skip
    share, steps, rates = config.batch_size // WORKERS, STEPS // 2, []
    images = torch.randint(256, (share, 3, config.size_px, config.size_px), dtype=torch.uint8)
    batches: Iterator[Batch] = itertools.repeat({"x": images, "y": images.flip(0)}, steps)
    if data:
        batches = ExampleSampler(shard=shard(data, rank), recipe=recipe, seed=0, rank=rank, batch_size=share).batches(
            0, steps
        )
    began = time.monotonic()
    for step, batch in enumerate(batches, 1):
        bare_road.step(batch, step)
        if step % LINE_STEPS == 0:
            rates.append(LINE_STEPS * config.batch_size / (time.monotonic() - began))
            began = time.monotonic()
    if rank == 0:
        Path(folder, "rate").write_text(str(statistics.median(rates[1:])))
    dist.destroy_process_group()


def shard(data: str, rank: int) -> ExampleCache:
    """A worker's part of the examples, without Ray Data."""
    found = example_files.listed(data, 2).examples[rank::WORKERS]
    return ExampleCache((example_files.read_row(row, 2) for row in example_files.rows(found)), 1 << 30)


def processes(data: str = "") -> float:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(bare, (folder, data), nprocs=WORKERS)
        return float(Path(folder, "rate").read_text())


def product(data: str, output: str) -> float:
    plan = TrainingSpec(
        recipe=RECIPE, preset=PRESET, data=data, output=output, workers=WORKERS, steps=STEPS, log_every=LINE_STEPS,
        checkpoint_every=STEPS // 2,
    )  # fmt: skip
    with cluster.connected():
        road.train(plan)
    lines = [
        json.loads(line)
        for log in sorted(Path(output, "logs").glob("scalars-*.jsonl"))
        for line in log.read_text().splitlines()
    ]
    print(f"  waiting for examples: {statistics.median(line['waiting'] for line in lines):.1%} of the time")
    return statistics.median(line["images_per_s"] for line in lines[1:])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_facades(f"{folder}/data", train=EXAMPLES, val=1, test=1, seed=0, size_px=128)
        data = f"{folder}/data/train"
        before, drawn, made, after = processes(), processes(data), product(data, f"{folder}/out"), processes()
    most = (before + after) / 2
    print(
        f"{RECIPE} {PRESET}, {WORKERS} workers: {made:.1f} images/s of {most:.1f} ({before:.1f} before, {after:.1f} "
        f"after): {made / most:.2f} (aim 0.93); the road's examples in bare processes: {drawn / most:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
