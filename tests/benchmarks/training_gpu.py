"""Training steps on a GPU against the reference's: `python -m tests.benchmarks.training_gpu [cuda|cpu]`. Without Ray.

Ours: bf16, channels last, eager and then compiled, as `recast train --precision bf16` and `--compile` have it. The
reference: fp32, eager, contiguous. Both on one resident batch of the same size, in turns. The share of the card's peak
takes the floating point operations of a step's matrix products and convolutions, as torch counts them.
"""

import statistics
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from recast.models import recipes
from recast.models.recipes import NOTHING
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from tests.benchmarks import reference_steps
from tests.benchmarks.training_step import batch_of

PEAKS_BF16_TFLOPS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362}
"""Dense, without sparsity, by the makers' data sheets."""
CASES = (("pix2pix", 1), ("pix2pix", 16), ("cyclegan", 1), ("cyclegan", 8))
ROUNDS = 20


def timed(step, device: str, rounds: int) -> float:
    """Seconds of one step, the median."""
    seconds = []
    for _ in range(rounds):
        synchronise(device)
        began = time.perf_counter()
        step()
        synchronise(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measured(recipe: str, batch_size: int, device: str, rounds: int, *, compiled: bool) -> None:
    torch.manual_seed(0)
    config = recipes.configured(recipe, "paper", {"batch_size": batch_size})
    plan = TrainingSpec(recipe=recipe, data="data", output="out", precision="bf16", compile=compiled)
    road = WorkerRoad(
        recipes.build(recipe, config, NOTHING), plan, device=torch.device(device), ema_decay=0.0, batch_size=batch_size
    )
    reference = reference_steps.Pix2Pix() if recipe == "pix2pix" else reference_steps.CycleGAN()
    for network in reference.networks.values():
        network.to(device)
    batch = {name: image.to(device) for name, image in batch_of(batch_size).items()}
    x, y = (batch[name].float() / 127.5 - 1 for name in "xy")
    with FlopCounterMode(display=False) as counter:
        reference.step(x, y)
    for step in range(3):  # compiling, choosing kernels
        road.step(batch, step)
        reference.step(x, y)
    ours = timed(lambda: road.step(batch, 3), device, rounds)
    theirs = timed(lambda: reference.step(x, y), device, rounds)
    card = torch.cuda.get_device_name() if device == "cuda" else ""
    peak = next((tflops for name, tflops in PEAKS_BF16_TFLOPS.items() if name in card), None)
    reached = counter.get_total_flops() / ours / 1e12
    share = f", {reached / peak:.0%} of the card's {peak} TFLOPS" if peak else ""
    how = f"{recipe}, batch {batch_size}, {'compiled' if compiled else 'eager'}"
    print(
        f"{how}: {batch_size / ours:.1f} images/s, the reference {batch_size / theirs:.1f}: "
        f"{theirs / ours:.2f} times (aim 3); {reached:.1f} TFLOPS{share}",
        flush=True,
    )


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'a CPU'}")
    if device == "cpu":
        measured(*CASES[0], device, 2, compiled=False)
        return
    for compiled in (False, True):
        for recipe, batch_size in CASES:
            measured(recipe, batch_size, device, ROUNDS, compiled=compiled)


if __name__ == "__main__":
    main()
