"""Two workers with DDP move the weights as one process with the joined batch does. No Ray: two processes with gloo."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from recast.models import recipes
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from tests.models.test_recipes import batch_of, photograph, supplies_for

STEPS = 2
CASES = {
    "srresnet": ("srresnet", {}, {}),
    "srresnet, uneven shares": ("srresnet", {"batch_size": 3}, {}),
    "srresnet, accumulated unevenly": ("srresnet", {"batch_size": 6}, {"accumulate": 2}),
    "pix2pix": ("pix2pix", {"norm": "instance"}, {}),
    "pix2pix, batch norm": ("pix2pix", {"norm": "batch"}, {"sync_batchnorm": True}),
    "cyclegan": ("cyclegan", {"pool_size": 0}, {}),
    "srgan": ("srgan", {"d_norm": "none"}, {}),
    "srgan, batch norm": ("srgan", {"network": "srresnet", "d_norm": "batch"}, {"sync_batchnorm": True}),
    "style_transfer": ("style_transfer", {}, {}),
    "classifier": ("classifier", {}, {}),
}
UNSYNCHRONISED = ("pix2pix", {"norm": "batch"}, {})


def trained(case, rank: int, world: int) -> dict[str, torch.Tensor]:
    """All weights after a few steps on this worker's share of fixed batches."""
    name, settings, switches = case
    config = recipes.configured(name, "tiny", {"batch_size": 4} | settings)
    torch.manual_seed(0)
    recipe = recipes.build(name, config, supplies_for(name))
    plan = TrainingSpec(recipe=name, data="data", output="out", **switches)
    batch_size = config.batch_size
    road = WorkerRoad(recipe, plan, device=torch.device("cpu"), ema_decay=0.0, batch_size=batch_size, world=world)
    images = (photograph(), photograph(seed=1))[: recipe.images_in(config)]
    for step in range(STEPS):
        batch = batch_of(recipe, images, batch_size, seed=step)
        road.step({key: value[rank::world] for key, value in batch.items()}, step)
    return {f"{n}.{k}": v for n, network in road.bare.items() for k, v in network.state_dict().items()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {name: trained(case, rank, 2) for name, case in (CASES | {"unsynchronised": UNSYNCHRONISED}).items()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("two")
    mp.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def apart(one, other, learning_rate):
    """How far weights are from one another, in steps of Adam, whose steps make much of small gradients' rounding."""
    offs = [(one[k] - other[k]).abs().flatten() / learning_rate for k in one if one[k].dim() > 1]
    return torch.cat(offs).quantile(0.95).item()


@pytest.mark.parametrize("name", CASES)
def test_two_workers_are_one_with_the_joined_batch(name, two_workers):
    case = CASES[name]
    rate = recipes.configured(case[0], "tiny").learning_rate
    alone = trained(case, 0, 1)
    assert apart(two_workers[0][name], two_workers[1][name], rate) == 0
    assert apart(alone, two_workers[0][name], rate) < 0.02
    running = [k for k in alone if "running" in k]
    assert all(torch.allclose(alone[k], two_workers[0][name][k], atol=1e-4) for k in running)


def test_batch_norms_of_their_own_statistics_are_another_training(two_workers):
    """What sync_batchnorm is for; the measure above sees it."""
    rate = dataclasses.replace(recipes.configured("pix2pix", "tiny")).learning_rate
    assert apart(trained(UNSYNCHRONISED, 0, 1), two_workers[0]["unsynchronised"], rate) > 0.02
