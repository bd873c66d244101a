"""Whether two checkouts of Recast train as fast: steps on a resident batch, of one worker and of two, in turns.

    python -m tests.benchmarks.same_speed OTHER_CHECKOUT [pix2pix] [gan] [srgan] [cyclegan]

Both sides live at the same time, each worker a process with one thread, and take turns of a few steps, so that what
disturbs the machine disturbs both. How a process happens to lie in memory decides up to a tenth of its speed as long as
it lives, so several pairs live one after another. Printed is the mean over them of the other side's time over this
one's, with its standard error; within a pair it is the median over turns.
"""

import inspect
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist

from recast.models import recipes
from recast.models.recipes.recipe import RecipeAssets
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad

HERE = Path(__file__).parents[2]
CASES = {"pix2pix": "demo", "gan": "small", "srgan": "small", "cyclegan": "small"}
PAIRS = 8
TURNS = 5
TURN_S = 1.5
"""About how long a turn is."""


def worker(recipe: str, rank: int, world: int, folder: str) -> None:
    """Takes as many steps as a line of stdin says, and says when they are done."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    config = recipes.configured(recipe, CASES[recipe])
    torch.manual_seed(0)
    made = recipes.build(recipe, config, assets())
    told = {"rank": rank} if "rank" in inspect.signature(WorkerRoad).parameters else {}  # an older one needs none
    road = WorkerRoad(
        made, TrainingSpec(recipe=recipe, data="data", output="out"), device=torch.device("cpu"),
        ema_decay=config.ema_decay, batch_size=config.batch_size, world=world, **told,
    )  # fmt: skip
    names = ("low", "high") if recipe == "srgan" else ("x", "y")
    sides = [getattr(config, "patch_px", 0), getattr(config, "patch_px", 0) * getattr(config, "scale", 0)]
    sides = sides if recipe == "srgan" else [config.size_px] * 2  # type: ignore[attr-defined]  # they have it
    share = config.batch_size // world
    batch = {
        name: torch.randint(256, (share, 3, side, side), dtype=torch.uint8)
        for name, side in zip(names, sides, strict=True)
    }
    batch = {"x": batch["x"]} if recipe == "gan" else batch
    step = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            road.step(batch, step)
            step += 1
        print("done", flush=True)


def assets() -> RecipeAssets:
    """A small loss network of random weights, for srgan."""
    from recast.models.networks.vgg import VGG

    return RecipeAssets(loss_network=VGG(blocks=[[16] * 2, [32] * 2, [64] * 4]).state_dict())


class Side:
    """The workers of one checkout."""

    def __init__(self, checkout: Path, recipe: str, world: int, folder: str) -> None:
        command = [sys.executable, __file__, "--worker", recipe]  # by its path: the other checkout may have none
        self.workers = [
            subprocess.Popen(
                [*command, str(rank), str(world), folder], env=os.environ | {"PYTHONPATH": str(checkout)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for rank in range(world)
        ]  # fmt: skip

    def turn(self, steps: int) -> float:
        """Seconds that the workers take for so many steps."""
        began = time.perf_counter()
        for each in self.workers:
            assert each.stdin is not None
            each.stdin.write(f"{steps}\n")
            each.stdin.flush()
        for each in self.workers:
            assert each.stdout is not None
            if each.stdout.readline() != "done\n":
                raise RuntimeError("a worker has ended")
        return time.perf_counter() - began

    def close(self) -> None:
        for each in self.workers:
            assert each.stdin is not None
            each.stdin.close()
            each.wait()


def measured(other: Path, recipe: str, world: int) -> None:
    pairs = [_pair(other, recipe, world) for _ in range(PAIRS)]
    ratios = [theirs / ours for theirs, ours in pairs]
    theirs, ours = (statistics.mean(pair[n] for pair in pairs) for n in (0, 1))
    print(
        f"{recipe} {CASES[recipe]}, {world} worker(s): {1000 * ours:.0f} ms a step, the other {1000 * theirs:.0f} ms: "
        f"{statistics.mean(ratios):.3f} +- {statistics.stdev(ratios) / PAIRS**0.5:.3f} times as fast",
        flush=True,
    )


def _pair(other: Path, recipe: str, world: int) -> tuple[float, float]:
    """Seconds that a step takes the other checkout, and this one, in processes of their own."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        sides = [Side(other, recipe, world, one), Side(HERE, recipe, world, two)]
        for side in sides:
            side.turn(3)
        steps = max(1, round(TURN_S / max(side.turn(2) / 2 for side in sides)))
        times = []
        for turn in range(TURNS):
            pair = {n: sides[n].turn(steps) for n in ((0, 1) if turn % 2 else (1, 0))}
            times.append((pair[0] / steps, pair[1] / steps))
        for side in sides:
            side.close()
    theirs, ours = (statistics.median(pair[n] for pair in times) for n in (0, 1))
    return theirs, ours


def main() -> None:
    if sys.argv[1] == "--worker":
        recipe, rank, world, folder = sys.argv[2:]
        worker(recipe, int(rank), int(world), folder)
        return
    for recipe in sys.argv[2:] or CASES:
        for world in (1, 2):
            measured(Path(sys.argv[1]), recipe, world)


if __name__ == "__main__":
    main()
