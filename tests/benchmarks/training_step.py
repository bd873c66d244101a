"""A recipe's bare step against the reference's, and bf16 against fp32.

`python -m tests.benchmarks.training_step [pix2pix] [cyclegan] [fp32] [bf16] [curve]`

Both sides start from the same weights and see the same batch of resident data; they take turns, so that a disturbance
hits both. Their losses are printed beside the ratio: the maths is the same. With `curve`, pix2pix's losses over a short
training in both precisions.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from recast.jobs.samples.facades import write_facades
from recast.models.recipes import NOTHING, cyclegan, pix2pix
from recast.models.recipes.recipe import RawExample
from recast.pipeline.precision import Precision
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from tests.benchmarks import reference_steps

ROUNDS = {"pix2pix": 12, "cyclegan": 5}
SIZE_PX = 256


def batch_of(size: int) -> dict[str, torch.Tensor]:
    """Smooth pairs, uint8: noise would drive the discriminators to extremes."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, size, 3, 16, 16, generator=generator)
    fine = [torch.nn.functional.interpolate(c, size=SIZE_PX, mode="bicubic").clamp(0, 1) for c in coarse]
    return {name: (image * 255).byte() for name, image in zip("xy", fine, strict=True)}


def ours(recipe: str, batch_size: int, precision: Precision = "fp32", norm: str = "batch") -> WorkerRoad:
    torch.manual_seed(0)
    made: pix2pix.Pix2Pix | cyclegan.CycleGAN
    if recipe == "pix2pix":
        config = dataclasses.replace(pix2pix.PAPER, dropout=0.0, batch_size=batch_size, constant_share=1.0)
        made = pix2pix.Pix2Pix(config, NOTHING)
    else:
        made = cyclegan.CycleGAN(dataclasses.replace(cyclegan.PAPER, batch_size=batch_size), NOTHING)
    plan = TrainingSpec(recipe=recipe, data="data", output="out", precision=precision)
    return WorkerRoad(made, plan, device=torch.device("cpu"), ema_decay=0.0, batch_size=batch_size)


def theirs(recipe: str, like: WorkerRoad) -> reference_steps.Pix2Pix | reference_steps.CycleGAN:
    """The reference with the weights of one of ours, and without dropout, whose draws would differ."""
    reference = reference_steps.Pix2Pix() if recipe == "pix2pix" else reference_steps.CycleGAN()
    for name, network in reference.networks.items():
        prefix = "model." if name.startswith("D") else ""
        network.load_state_dict({k.removeprefix(prefix): v for k, v in like.recipe.networks[name].state_dict().items()})
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    return reference


def against_reference(recipe: str, aim: float) -> None:
    road, batch = ours(recipe, 1), batch_of(1)
    reference = theirs(recipe, road)
    x, y = (batch[name].float() / 127.5 - 1 for name in "xy")
    for step in range(2):
        mine, their = road.step(batch, step), reference.step(x, y)
    off = max(abs(mine[name].item() - value.item()) / max(abs(value.item()), 1e-3) for name, value in their.items())
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for step in range(2, 2 + ROUNDS[recipe]):
        for side, run in (("ours", lambda s=step: road.step(batch, s)), ("theirs", lambda: reference.step(x, y))):
            began = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - began)
    mine_s, theirs_s = (statistics.median(seconds[side]) for side in ("ours", "theirs"))
    print(
        f"{recipe}, {SIZE_PX} px, batch 1, fp32: {mine_s:.3f} s a step; the reference {theirs_s:.3f} s: "
        f"{theirs_s / mine_s:.2f} times (aim {aim}); losses of the second step differ by {off:.1e} at most",
        flush=True,
    )


def in_bf16(recipe: str, aim: float) -> None:
    roads = {precision: ours(recipe, 4, precision) for precision in ("fp32", "bf16")}
    batch, rounds = batch_of(4), ROUNDS[recipe] // 2
    seconds: dict[str, list[float]] = {precision: [] for precision in roads}
    for step in range(2 + rounds):
        for precision, road in roads.items():
            began = time.perf_counter()
            road.step(batch, step)
            seconds[precision].append(time.perf_counter() - began)
    full, half = (statistics.median(seconds[precision][2:]) for precision in ("fp32", "bf16"))
    print(f"{recipe}, batch 4: fp32 {full:.2f} s, bf16 {half:.2f} s: {full / half:.2f} times (aim {aim})", flush=True)


def curve(steps: int = 150) -> None:
    """The demo preset on drawn facades: each line the mean loss of thirty steps."""
    with tempfile.TemporaryDirectory() as folder:
        write_facades(folder, train=16, val=1, test=1, seed=0, size_px=128)
        pairs = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(Path(folder, "train").glob("*.png"))]
    config = dataclasses.replace(pix2pix.DEMO, steps=steps)
    lines: dict[str, list[float]] = {}
    for precision in get_args(Precision)[:2]:
        torch.manual_seed(0)
        made = pix2pix.Pix2Pix(config, NOTHING)
        plan = TrainingSpec(recipe="pix2pix", data="data", output="out", precision=precision)
        road = WorkerRoad(made, plan, device=torch.device("cpu"), ema_decay=0.0, batch_size=config.batch_size)
        losses = []
        for step in range(steps):
            rng = np.random.default_rng(step)
            halves = [np.split(pairs[i], 2, axis=1) for i in rng.integers(len(pairs), size=config.batch_size)]
            examples = [made.example(RawExample((a, b)), rng) for a, b in halves]
            batch = {name: torch.stack([example[name] for example in examples]) for name in examples[0]}
            losses.append(road.step(batch, step)["G L1"].item())
        lines[precision] = [statistics.mean(losses[n : n + 30]) for n in range(0, steps, 30)]
    for precision, means in lines.items():
        print(f"pix2pix demo, G L1 in {precision}: {' '.join(f'{mean:.4f}' for mean in means)}", flush=True)


def main() -> None:
    asked = set(sys.argv[1:])
    if not asked or "curve" in asked:
        curve()
    for recipe, aim in (("pix2pix", 1.15), ("cyclegan", 1.05)):
        if not asked or recipe in asked:
            if "bf16" not in asked:
                against_reference(recipe, aim)
            if "fp32" not in asked:
                in_bf16(recipe, 2.0)


if __name__ == "__main__":
    main()
