"""CycleGAN: one step is the paper's equations, and what discriminators are shown again is remembered."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recast.models.recipes import NOTHING
from recast.models.recipes.cyclegan import TINY, CycleGAN
from recast.models.recipes.image_pool import ImagePool
from recast.models.recipes.recipe import RawExample
from tests.models.originals import Resnet
from tests.models.test_recipes import PlainRoad, batch_of, photograph, trained

LEARNING_RATE = 2e-4


def reference_discriminator(ndf=4):
    """NLayerDiscriminator with one layer, in plain torch."""
    return nn.Sequential(
        nn.Conv2d(3, ndf, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(ndf, 2 * ndf, 4, 1, 1), nn.InstanceNorm2d(2 * ndf), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * ndf, 1, 4, 1, 1),
    )  # fmt: skip


def equations(G, F_, D_X, D_Y, x, y, weights):
    """Equations 1 to 3 with least squares and the identity loss of section 5.2, each forward by itself."""
    lambda_cycle, lambda_identity = weights
    fake_y, fake_x = G(x), F_(y)
    ones = torch.ones_like(D_Y(fake_y))
    adversarial = F.mse_loss(D_Y(fake_y), ones) + F.mse_loss(D_X(fake_x), ones)
    cycle = F.l1_loss(F_(fake_y), x), F.l1_loss(G(fake_x), y)
    identity = F.l1_loss(G(y), y) + F.l1_loss(F_(x), x)
    loss = adversarial + lambda_cycle * sum(cycle) + lambda_identity * lambda_cycle * identity
    return loss, cycle, identity, fake_x.detach(), fake_y.detach()


def judged(D, real, fake):
    return 0.5 * (F.mse_loss(D(real), torch.ones_like(D(real))) + F.mse_loss(D(fake), torch.zeros_like(D(fake))))


def test_two_steps_are_the_papers_equations():
    """Losses, and all weights after each step, agree with a statement of the equations in plain torch."""
    torch.manual_seed(0)
    recipe = CycleGAN(dataclasses.replace(TINY, learning_rate=LEARNING_RATE, pool_size=0), NOTHING)
    G, F_ = (Resnet(ngf=4, blocks=1) for _ in range(2))
    D_X, D_Y = (reference_discriminator() for _ in range(2))
    theirs = {"G": G, "F": F_, "D_X": D_X, "D_Y": D_Y}
    for name, network in theirs.items():
        prefix = "model." if name.startswith("D") else ""
        network.load_state_dict({k.removeprefix(prefix): v for k, v in recipe.networks[name].state_dict().items()})
    adam = {"lr": LEARNING_RATE, "betas": (0.5, 0.999)}
    generators = torch.optim.Adam([*G.parameters(), *F_.parameters()], **adam)
    discriminators = torch.optim.Adam([*D_X.parameters(), *D_Y.parameters()], **adam)
    batch = batch_of(recipe, (photograph(), photograph(seed=1)), 2)
    x, y = (batch[name].float() / 127.5 - 1 for name in ("x", "y"))
    for _ in range(2):
        given = PlainRoad(recipe).step(batch)
        loss, cycle, identity, fake_x, fake_y = equations(G, F_, D_X, D_Y, x, y, (10.0, 0.5))
        generators.zero_grad()
        loss.backward()
        generators.step()
        d_x, d_y = judged(D_X, x, fake_x), judged(D_Y, y, fake_y)
        discriminators.zero_grad()
        (d_x + d_y).backward()
        discriminators.step()
        expected = {"cycle X": cycle[0], "cycle Y": cycle[1], "identity": identity, "D_X": d_x, "D_Y": d_y}
        for name, value in expected.items():
            torch.testing.assert_close(given[name], value, rtol=1e-4, atol=1e-5)
    for name, network in theirs.items():
        ours = dict(recipe.networks[name].named_parameters())
        for key, parameter in network.named_parameters():
            if key.endswith("weight"):  # most biases come before a norm: their gradients are nothing but rounding
                key = f"model.{key}" if name.startswith("D") else key
                off = (ours[key] - parameter).abs() / LEARNING_RATE  # Adam makes much of the least gradients' rounding
                assert off.mean() < 0.02, key
                assert off.quantile(0.9) < 0.05, key


def test_it_learns_to_return():
    """A few steps on one batch lower the cycle loss; generators step before discriminators."""
    torch.manual_seed(0)
    recipe = CycleGAN(dataclasses.replace(TINY, learning_rate=2e-3), NOTHING)
    road, scalars = trained(recipe, batch_of(recipe, (photograph(), photograph(seed=1)), 2), 15)
    assert road.updated[:2] == ["G and F", "D_X and D_Y"]
    assert scalars[-1]["cycle X"] + scalars[-1]["cycle Y"] < 0.9 * (scalars[0]["cycle X"] + scalars[0]["cycle Y"])


def test_domains_are_cut_apart_and_the_direction_decides_which_is_x():
    a, b = np.zeros((40, 40, 3), np.uint8), np.full((50, 60, 3), 255, np.uint8)
    for direction, dark in (("AtoB", "x"), ("BtoA", "y")):
        recipe = CycleGAN(dataclasses.replace(TINY, direction=direction), NOTHING)
        example = recipe.example(RawExample((a, b)), np.random.default_rng(0))
        assert {name: image.float().mean().item() for name, image in example.items()} == {
            "x": 0.0 if dark == "x" else 255.0, "y": 255.0 if dark == "x" else 0.0,
        }  # fmt: skip


def test_a_pool_gives_back_old_images_half_of_the_time():
    torch.manual_seed(0)
    pool = ImagePool(10)
    for n in range(10):
        assert pool.query(torch.full((1, 1, 1, 1), n)).item() == n
    given = torch.cat([pool.query(torch.full((2, 1, 1, 1), n)) for n in range(10, 1010)]).flatten()
    fresh = (given.view(-1, 2) == torch.arange(10, 1010)[:, None]).float().mean().item()
    assert 0.45 < fresh < 0.6
    assert len(pool.images) == 10
    assert torch.equal(ImagePool(0).query(torch.ones(1, 1, 1, 1)), torch.ones(1, 1, 1, 1))


def test_a_state_taken_back_gives_the_same_next_step():
    torch.manual_seed(0)
    recipe = CycleGAN(TINY, NOTHING)
    batch = batch_of(recipe, (photograph(), photograph(seed=1)), 2)
    trained(recipe, batch, 4)
    other = CycleGAN(TINY, NOTHING)
    for name, network in recipe.networks.items():
        other.networks[name].load_state_dict(network.state_dict())
    for name, optimizer in recipe.optimizers.items():
        other.optimizers[name].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(recipe.state_dict(), torch.device("cpu"))
    results = []
    for each in (recipe, other):
        torch.manual_seed(1)
        results.append(trained(each, batch, 2)[1])
    assert results[0] == results[1]


@pytest.mark.parametrize(("change", "says"), [({"size_px": 30}, "multiple of 4"), ({"load_px": 8}, "at least size_px")])
def test_settings_that_make_no_sense_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(TINY, **change)
