"""Adversarial losses are the papers'."""

import math

import pytest
import torch

from models.losses.adversarial import ADVERSARIAL

VERDICTS = torch.tensor([[-2.0, 0.5], [0.0, 3.0]])


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("name", "real", "fake", "fooling"),
    [
        (
            "vanilla",
            lambda v: -math.log(sigmoid(v)),
            lambda v: -math.log(1 - sigmoid(v)),
            lambda v: -math.log(sigmoid(v)),
        ),
        ("lsgan", lambda v: (v - 1) ** 2, lambda v: v**2, lambda v: (v - 1) ** 2),
        ("hinge", lambda v: max(0, 1 - v), lambda v: max(0, 1 + v), lambda v: -v),
    ],
)
def test_values_are_the_equations(name, real, fake, fooling):
    """Each loss equals its equation, written out number by number."""
    loss, verdicts = ADVERSARIAL[name], VERDICTS.flatten().tolist()
    assert loss.real(VERDICTS).item() == pytest.approx(mean(map(real, verdicts)), rel=1e-5)
    assert loss.fake(VERDICTS).item() == pytest.approx(mean(map(fake, verdicts)), rel=1e-5)
    assert loss.fooling(VERDICTS).item() == pytest.approx(mean(map(fooling, verdicts)), rel=1e-5)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_probability_rises_with_the_verdict(name):
    """D(x) lies in [0, 1], and a surer verdict gives a higher one."""
    unsure, sure = (float(ADVERSARIAL[name].probability(torch.full((3,), v))) for v in (0.1, 0.9))
    assert 0 <= unsure < sure <= 1


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_extreme_verdicts_stay_finite(name):
    """No loss overflows however sure D is."""
    loss, verdicts = ADVERSARIAL[name], torch.tensor([-1e4, 1e4])
    assert all(torch.isfinite(part(verdicts)) for part in (loss.real, loss.fake, loss.fooling))
