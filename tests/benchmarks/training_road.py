"""The whole training road against its ceiling: `python -m tests.benchmarks.training_road`.

The ceiling: as many bare processes as there are workers, one thread each, that take the same steps with the same
exchange of gradients on one resident batch. The product: `pipeline.training.road.train` on files, with augmentation,
logs, sample grids and checkpoints. Both are medians of twenty steps' means; the ceiling is taken before and after.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from models import recipes
from models.recipes import NOTHING
from pipeline import cluster
from pipeline.samples.facades import write_facades
from pipeline.training import road
from pipeline.training.plan import TrainingPlan
from pipeline.training.step import WorkerRoad

WORKERS, STEPS, LINE_STEPS, EXAMPLES = 2, 160, 20, 64
RECIPE, PRESET = "pix2pix", "demo"


def bare(rank: int, folder: str) -> None:
    """Steps on a resident batch; the first process leaves its images per second."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORKERS)
    config = recipes.configured(RECIPE, PRESET)
    plan = TrainingPlan(recipe=RECIPE, data="", output="")
    bare_road = WorkerRoad(
        recipes.build(RECIPE, config, NOTHING), plan, device=torch.device("cpu"), ema_decay=config.ema_decay,
        batch_size=config.batch_size, world=WORKERS,
    )  # fmt: skip
    images = torch.randint(256, (config.batch_size // WORKERS, 3, config.size_px, config.size_px), dtype=torch.uint8)
    batch, rates = {"x": images, "y": images.flip(0)}, []
    for line in range(STEPS // LINE_STEPS // 2):
        began = time.monotonic()
        for step in range(LINE_STEPS):
            bare_road.step(batch, line * LINE_STEPS + step)
        rates.append(LINE_STEPS * config.batch_size / (time.monotonic() - began))
    if rank == 0:
        Path(folder, "rate").write_text(str(statistics.median(rates[1:])))
    dist.destroy_process_group()


def ceiling() -> float:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(bare, (folder,), nprocs=WORKERS)
        return float(Path(folder, "rate").read_text())


def product() -> float:
    with tempfile.TemporaryDirectory() as folder:
        write_facades(f"{folder}/data", train=EXAMPLES, val=1, test=1, seed=0, size_px=128)
        plan = TrainingPlan(
            recipe=RECIPE, preset=PRESET, data=f"{folder}/data/train", output=f"{folder}/out", workers=WORKERS,
            steps=STEPS, log_every=LINE_STEPS, checkpoint_every=STEPS // 2,
        )  # fmt: skip
        with cluster.connected():
            road.train(plan, quiet=True)
        lines = [
            json.loads(line)
            for log in sorted(Path(folder, "out", "logs").glob("scalars-*.jsonl"))
            for line in log.read_text().splitlines()
        ]
        print(f"  waiting for examples: {statistics.median(line['waiting'] for line in lines):.1%} of the time")
        return statistics.median(line["images_per_s"] for line in lines[1:])


def main() -> None:
    before, made, after = ceiling(), product(), ceiling()
    most = (before + after) / 2
    print(
        f"{RECIPE} {PRESET}, {WORKERS} workers: {made:.1f} images/s of {most:.1f} ({before:.1f} before, {after:.1f} "
        f"after): {made / most:.2f} (aim 0.93)",
        flush=True,
    )


if __name__ == "__main__":
    main()
