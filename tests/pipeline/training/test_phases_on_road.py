"""How the road runs a recipe's phases: when, on which parts, with what fixed; and what it says of accumulation."""

import gc
import weakref

import pytest
import torch
from torch import nn

from recast.models import recipes
from recast.models.recipes.phases import Phase
from recast.pipeline.training.preparation import prepared
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.spec import resolved
from recast.pipeline.training.step import WorkerRoad
from tests.models.test_recipes import batch_of, photograph, smallest, supplies_for
from tests.pipeline.training.test_parts import write_images

CPU = torch.device("cpu")


class Lazy:
    """Two networks, of which one takes a step at every third step, through the other."""

    channels_last = True
    fixed = {}  # noqa: RUF012  # as short as a test's recipe may be

    def __init__(self):
        torch.manual_seed(0)
        self.networks = {"G": nn.Linear(2, 2), "D": nn.Linear(2, 1)}
        self.optimizers = {n: torch.optim.SGD(net.parameters(), lr=0.1) for n, net in self.networks.items()}
        self.seen = []

    def phases(self):
        return (
            Phase(optimizer="D", loss=self.d_loss),
            Phase(optimizer="G", loss=self.g_loss, fixed=("D",), every=3),
        )

    def prepared(self, batch, road):
        return batch | {"mean": road.mean(batch["x"].mean()), "step": torch.tensor(road.step_number)}

    def lr_factor(self, step):
        return 1.0

    def d_loss(self, part):
        loss = self.networks["D"](self.networks["G"](part.batch["x"]).detach()).square().mean()
        return loss, {"D": loss}

    def g_loss(self, part):
        self.seen.append((part.batch["step"].item(), part.batch["mean"].item(), len(part.batch["x"])))
        assert not any(p.requires_grad for p in self.networks["D"].parameters())
        loss = self.networks["D"](self.networks["G"](part.batch["x"])).square().mean()
        return loss, {"G": loss, "rows": part.batch["x"].new_tensor(float(len(part.batch["x"])))}


def road_of(recipe, batch_size, **switches):
    plan = TrainingSpec(recipe="gan", data="data", output="out", **switches)
    return WorkerRoad(recipe, plan, device=CPU, ema_decay=0.0, batch_size=batch_size)


def test_a_lazy_phase_runs_at_every_third_step():
    """With the step's number, the mean over workers, and D fixed while G learns."""
    recipe = Lazy()
    road = road_of(recipe, 3, accumulate=2)
    x = torch.arange(6.0).view(3, 2)
    before = recipe.networks["G"].weight.clone()
    scalars = [road.step({"x": x}, step) for step in range(7)]
    assert [step for step, *_ in recipe.seen] == [0, 0, 3, 3, 6, 6]
    assert {(mean, rows) for _, mean, rows in recipe.seen} == {(2.5, 2), (2.5, 1)}
    assert [set(each) for each in scalars[:4]] == [{"D", "G", "rows"}, {"D"}, {"D"}, {"D", "G", "rows"}]
    assert scalars[0]["rows"].item() == pytest.approx((2 * 2 + 1 * 1) / 3)
    assert not torch.equal(before, recipe.networks["G"].weight)
    assert all(p.requires_grad for p in recipe.networks["D"].parameters())


def counted(recipe, accumulate):
    """How often G computes in one step, and how many of its results are alive at most when it begins."""
    config = recipes.configured(recipe, smallest(recipe), {"batch_size": 4})
    made = recipes.build(recipe, config, supplies_for(recipe))
    road = road_of(made, 4, accumulate=accumulate)
    results, alive = [], [0]

    def before(*_):
        gc.collect()
        alive.append(1 + sum(each() is not None for each in results))

    made.networks["G"].register_forward_pre_hook(before)
    made.networks["G"].register_forward_hook(lambda net, given, out: results.append(weakref.ref(out)))
    images = (photograph(), photograph(seed=1))[: made.images_in(config)]
    road.step(batch_of(made, images, 4), 0)
    return len(results), max(alive)


@pytest.mark.parametrize("recipe", ["pix2pix", "srgan"])
def test_nothing_is_computed_twice_but_where_memory_is_to_be_saved(recipe):
    """One forward of G serves both phases; of an accumulated batch, no two parts' graphs are alive at a time."""
    assert counted(recipe, 1) == (1, 1)
    assert counted(recipe, 4) == (8, 1)


def test_running_statistics_follow_a_part_once():
    config = recipes.configured("pix2pix", "tiny", {"batch_size": 4, "norm": "batch"})
    tracked = {}
    for accumulate in (1, 2):
        torch.manual_seed(0)
        made = recipes.build("pix2pix", config)
        road = road_of(made, 4, accumulate=accumulate)
        road.step(batch_of(made, (photograph(), photograph(seed=1)), 4), 0)
        norms = [m for m in made.networks["G"].modules() if isinstance(m, nn.BatchNorm2d)]
        tracked[accumulate] = {int(norm.num_batches_tracked) for norm in norms}
    assert tracked == {1: {1}, 2: {2}}


MIXING = {
    "gan": "batch norm in G and D",
    "cgan": "batch norm in G and D",
    "retinaface": "batch norm in F",
    "centernet": "batch norm in F",
    "mask_rcnn": "batch norm in F",
    "recognizer": "batch norm in R",
    "deidentify": "the spread of the batch's latent codes",
    "passcode": "the spread of the batch's latent codes",
}


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_what_mixes_examples_is_known_of_every_recipe(recipe):
    made = recipes.build(recipe, recipes.configured(recipe, smallest(recipe)), supplies_for(recipe))
    assert made.mixing() == ([MIXING[recipe]] if recipe in MIXING else [])


def test_a_training_says_at_its_start_that_accumulation_is_another_computation(tmp_path):
    write_images(tmp_path / "data", ["a.png", "b.png"])
    settings = {"recipe": "gan", "preset": "tiny", "data": str(tmp_path / "data"), "output": str(tmp_path / "out")}

    def said(**changes):
        return [s for s in prepared(TrainingSpec(**settings | changes)).said if "accumulate" in s]

    (sentence,) = said(accumulate=2)
    assert sentence == (
        "with --accumulate 2, batch norm in G and D will see a part of a batch at a time: another computation than "
        "with the whole batch at once"
    )
    assert said() == said(accumulate=2, overrides={"norm": "instance"}) == []


def test_a_share_of_a_batch_has_something_for_every_part():
    """The gan's two steps of D have half of the batch each."""
    plan = TrainingSpec(recipe="gan", preset="tiny", data="data", output="out", workers=2, accumulate=2)
    with pytest.raises(ValueError, match="at least workers x accumulate, 2 x 2, for each of its 2 shares"):
        resolved(plan)
