"""Workers that share a batch, and the parts that one is accumulated from, move weights as one process with all of it.

Every recipe, in double precision, where nothing but a mistake keeps them apart. No Ray: two processes with gloo.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from recast.models import recipes
from recast.models.recipes.recipe import RawExample
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from tests.models.test_recipes import masks_of, photograph, region_of, smallest, supplies_for

STEPS = 2
EPSILON = 1e-6
"""Adam's: biases before a norm have gradients that are nothing but rounding, which it would make full steps of."""
LISTED = ("style_transfer", "cyclegan", "gan", "cgan")
CASES = {
    **{name: (name, {}) for name in recipes.RECIPES if name not in LISTED},
    "style_transfer": ("style_transfer", {"style_weight": 100.0, "content_weight": 1.0}),
    "cyclegan": ("cyclegan", {"pool_size": 0}),
    "gan": ("gan", {"norm": "instance"}),
    "cgan": ("cgan", {"norm": "instance", "adversarial": "wgan-gp"}),
    "pix2pix, dropout": ("pix2pix", {"dropout": 0.5}),
    "gan, batch norm": ("gan", {"norm": "batch"}),
    "pix2pix, batch norm": ("pix2pix", {"norm": "batch"}),
    "centernet, keypoints": ("centernet", {"keypoints": True}),
    "mask_rcnn, keypoints, frozen norms": ("mask_rcnn", {"learned": "keypoints", "frozen_norms": True}),
    "srgan, batch norm": ("srgan", {"network": "srresnet", "d_norm": "batch"}),
}
ALONE, JOINED, UNSYNCHRONISED = "one worker", "two workers", "two workers, without sync batch norm"
PARTS = {"two parts": (1, 2), "three parts": (1, 3), "two workers, two parts each": (2, 2)}
NEAR = 1e-6
"""Learning rates that weights may be apart."""


def without_mixing(name):
    """The case, and with it what would make examples depend on others."""
    recipe, settings = CASES[name]
    alone = {"lambda_spread": 0.0} if recipe in ("deidentify", "passcode") else {}
    return recipe, alone | settings


def mixes(name):
    recipe, settings = without_mixing(name)
    config = recipes.configured(recipe, smallest(recipe), settings)
    return bool(recipes.build(recipe, config, supplies_for(recipe)).mixing())


def batch_size(recipe):
    """An odd number, where a step doesn't halve it: shares and parts are uneven then."""
    return 8 if recipe in ("gan", "cgan") else 7


def batch_of(recipe, seed):
    """Of each photograph one example; where faces are asked for, the second photograph has none and the others one."""
    examples = []
    for n in range(recipe.config.batch_size):
        images = (photograph(seed=n), photograph(seed=n + 9))[: recipe.images_in(recipe.config)]
        regions = region_of(recipe, lower=3 * n)[: 0 if n == 1 and recipe.regions in ("all", "things") else 1]
        raw = RawExample(images, regions, n % 3, masks_of(recipe, regions))
        examples.append(recipe.example(raw, np.random.default_rng([seed, n])))
    return {name: torch.stack([e[name] for e in examples]) for name in examples[0]}


def trained(case, rank, world, **switches):
    """All weights after a few steps on this worker's share of fixed batches, and the learning rate."""
    name, settings = case
    config = recipes.configured(name, smallest(name), {"batch_size": batch_size(name)} | settings)
    torch.manual_seed(0)
    recipe = recipes.build(name, config, supplies_for(name))
    for network in (*recipe.networks.values(), *recipe.fixed.values()):
        network.double()
    for optimizer in recipe.optimizers.values():
        for group in optimizer.param_groups:
            group["eps"] = EPSILON
    plan = TrainingSpec(recipe=name, data="data", output="out", **switches)
    road = WorkerRoad(
        recipe, plan, device=torch.device("cpu"), ema_decay=0.0, batch_size=config.batch_size, world=world, rank=rank
    )
    for step in range(STEPS):
        torch.manual_seed(step)
        road.step({key: value[rank::world] for key, value in batch_of(recipe, step).items()}, step)
    return {f"{n}.{k}": v for n, network in recipe.networks.items() for k, v in network.state_dict().items()}


def worker(rank, folder):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    results = {}
    for number, name in enumerate(CASES):
        if number % 2 == rank:
            results[name, ALONE] = trained(CASES[name], 0, 1)
            results[name, "one worker, unmixed"] = trained(without_mixing(name), 0, 1)
            for parts, (world, accumulate) in PARTS.items():
                if world == 1 and not mixes(name):
                    results[name, parts] = trained(without_mixing(name), 0, 1, accumulate=accumulate)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name in CASES:
        results[name, JOINED] = trained(CASES[name], rank, 2, sync_batchnorm=True)
        for parts, (world, accumulate) in PARTS.items():
            if world == 2 and not mixes(name):
                results[name, parts] = trained(without_mixing(name), rank, 2, accumulate=accumulate)
    case = CASES["pix2pix, batch norm"]
    results["pix2pix, batch norm", UNSYNCHRONISED] = trained(case, rank, 2)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Weights of both processes, by case and way of training."""
    folder: Path = tmp_path_factory.mktemp("two")
    mp.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def apart(name, one, other):
    """The most that any weight or running statistic is apart, in learning rates."""
    recipe = CASES[name][0]
    rate = recipes.configured(recipe, smallest(recipe)).learning_rate
    assert one.keys() == other.keys()
    return max(((one[k] - other[k]).abs().max() / rate).item() for k in one)


@pytest.mark.parametrize("name", CASES)
def test_two_workers_are_one_with_the_joined_batch(name, results):
    alone = next(result[name, ALONE] for result in results if (name, ALONE) in result)
    assert apart(name, results[0][name, JOINED], results[1][name, JOINED]) == 0
    assert apart(name, alone, results[0][name, JOINED]) < NEAR


@pytest.mark.parametrize("name", [name for name in CASES if not mixes(name)])
@pytest.mark.parametrize("parts", PARTS)
def test_an_accumulated_batch_is_the_whole_one(name, parts, results):
    whole, parted = (
        next(result[name, way] for result in results if (name, way) in result) for way in ("one worker, unmixed", parts)
    )
    assert apart(name, whole, parted) < NEAR


def test_batch_norms_of_their_own_statistics_are_another_training(results):
    """What sync_batchnorm is for; the measure above sees it."""
    name = "pix2pix, batch norm"
    alone = next(result[name, ALONE] for result in results if (name, ALONE) in result)
    assert apart(name, alone, results[0][name, UNSYNCHRONISED]) > 0.02
