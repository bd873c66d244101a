"""Adversarial losses are the papers'."""

import math

import pytest
import torch

from recast.models.losses.adversarial import ADVERSARIAL
from recast.models.losses.perceptual import feature_distance, gram, style_distance, total_variation

VERDICTS = torch.tensor([[-2.0, 0.5], [0.0, 3.0]])


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator_loss"),
    [
        (
            "vanilla",
            lambda v: -math.log(sigmoid(v)),
            lambda v: -math.log(1 - sigmoid(v)),
            lambda v: -math.log(sigmoid(v)),
        ),
        (
            "minimax",
            lambda v: -math.log(sigmoid(v)),
            lambda v: -math.log(1 - sigmoid(v)),
            lambda v: math.log(1 - sigmoid(v)),
        ),
        ("wgan-gp", lambda v: -v, lambda v: v, lambda v: -v),
        ("lsgan", lambda v: (v - 1) ** 2, lambda v: v**2, lambda v: (v - 1) ** 2),
        ("hinge", lambda v: max(0, 1 - v), lambda v: max(0, 1 + v), lambda v: -v),
    ],
)
def test_values_are_the_equations(name, real, fake, generator_loss):
    """Each loss equals its equation, written out number by number."""
    loss, logits = ADVERSARIAL[name], VERDICTS.flatten().tolist()
    assert loss.real(VERDICTS).item() == pytest.approx(mean(map(real, logits)), rel=1e-5)
    assert loss.fake(VERDICTS).item() == pytest.approx(mean(map(fake, logits)), rel=1e-5)
    assert loss.generator_loss(VERDICTS).item() == pytest.approx(mean(map(generator_loss, logits)), rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_probability_rises_with_the_verdict(name):
    """D(x) lies in [0, 1], and a surer verdict gives a higher one."""
    unsure, sure = (float(ADVERSARIAL[name].probability(torch.full((3,), v))) for v in (0.1, 0.9))
    assert 0 <= unsure < sure <= 1


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_extreme_logits_stay_finite(name):
    """No loss overflows however sure D is."""
    loss, logits = ADVERSARIAL[name], torch.tensor([-1e4, 1e4])
    assert all(torch.isfinite(part(logits)) for part in (loss.real, loss.fake, loss.generator_loss))


def test_the_gradient_penalty_of_a_plane_is_its_slopes_distance_from_one():
    """A linear critic has one slope everywhere: 10 (|w| - 1)^2 (WGAN-GP, equation 3)."""
    weight = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    real, fake = torch.randn(5, 2, 1, 1), torch.randn(5, 2, 1, 1)
    penalty = ADVERSARIAL["wgan-gp"].penalty(lambda x: (x * weight).sum((1, 2, 3)), real, fake)
    assert penalty.item() == pytest.approx(10 * (5 - 1) ** 2, rel=1e-5)
    assert ADVERSARIAL["vanilla"].penalty(lambda x: x, real, fake).item() == 0


def test_the_gradient_penalty_teaches_the_critic():
    """Its gradient reaches the critic's weights, through the gradient at the images."""
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.LeakyReLU(0.2), torch.nn.Conv2d(4, 1, 3))
    real, fake = torch.randn(2, 2, 1, 6, 6).unbind(0)
    before = ADVERSARIAL["wgan-gp"].penalty(critic, real, fake)
    before.backward()
    with torch.no_grad():
        for parameter in critic.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    assert ADVERSARIAL["wgan-gp"].penalty(critic, real, fake).item() < before.item()


def test_gram_and_perceptual_distances_are_the_equations():
    """Johnson et al. 2016, equations 2 to 4, number by number."""
    a, b = torch.randn(2, 1, 3, 4, 5).unbind(0)
    by_hand = torch.einsum("nchw,ndhw->ncd", a, a) / (3 * 4 * 5)
    torch.testing.assert_close(gram(a), by_hand)
    distance = feature_distance({"one": a, "two": b}, {"one": b, "two": b}, {"one": 0.5, "two": 3.0})
    assert distance.item() == pytest.approx(0.5 * ((a - b) ** 2).mean().item(), rel=1e-5)
    styled = style_distance({"one": a}, {"one": gram(b)}, {"one": 2.0})
    assert styled.item() == pytest.approx(2 * ((gram(a) - gram(b)) ** 2).mean().item(), rel=1e-5)


def test_total_variation_of_stripes():
    """Columns that alternate between 0 and 2: every neighbour to the right differs by 2, none below."""
    stripes = torch.tensor([0.0, 2.0]).repeat(1, 3, 4, 3)
    assert total_variation(stripes).item() == pytest.approx(4.0)
