"""What a lookout says of the scalars of healthy trainings, and of those in each kind of trouble."""

import re

import numpy as np
import pytest
import torch

from recast.pipeline.training.health import HealthMonitor, seen
from recast.pipeline.training.idle import Idle

HEALTHY = {"G L1": 30.0, "D real": 0.6, "D(x)": 0.6, "D(G(z))": 0.4, "diversity": 0.9, "waiting": 0.01, "lr": 2e-4}


def said(lines, healthy_first=20):
    monitor = HealthMonitor()
    told = [t for step in range(healthy_first) for t in monitor.look(step, HEALTHY)]
    assert told == []
    return [t for step, line in enumerate(lines, healthy_first) for t in monitor.look(step, HEALTHY | line)]


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        ("exploding", {"G L1": 1e5}, r"G L1 is 1e\+05, over 100 times.*Lower learning_rate"),
        ("overpowered", {"D(x)": 0.999, "D(G(z))": 0.0003}, r"the discriminator has won.*hinge or wgan-gp"),
        ("stalemate", {"D(x)": 0.5, "D(G(z))": 0.5001}, r"says the same of real and generated.*collapsed"),
        ("collapse", {"diversity": 0.01}, r"mode collapse.*less than 5%"),
        ("starved", {"waiting": 0.6}, r"wait 60% of the time for examples.*bound by its data.*CPU cores"),
    ],
)
def test_each_kind_of_trouble_is_said_once_with_advice(kind, line, words):
    troubles = said([line] * 200)
    assert [t.kind for t in troubles] == [kind]
    assert re.search(words, troubles[0].sentence)


@pytest.mark.parametrize("line", [{"G L1": 1e5}, {"D(x)": 1.0, "D(G(z))": 0.0}, {"diversity": 0.0}, {"waiting": 0.9}])
def test_one_odd_line_is_no_trouble(line):
    assert said([line, {}, line, {}, {}]) == []


def test_a_training_without_a_future_ends():
    """A discriminator that goes on winning, not one that is met at eye level in between."""
    won = {"D(x)": 1.0, "D(G(z))": 0.0}
    for lines, ends in (([won] * 99 + [{}] + [won] * 99, False), ([won] * 100, True)):
        monitor = HealthMonitor()
        for step, line in enumerate(lines):
            monitor.look(step, HEALTHY | line)
        assert bool(monitor.ending()) == ends
    assert monitor.ending().startswith("the training was ended: from step 9 on, the discriminator has won")


def test_trouble_is_found_again_in_a_history_with_gaps():
    """The report sees what the training said, from the lines it logged."""
    steps = np.arange(0, 600, 20)
    diversity = np.where(steps < 200, 0.8, 0.01)
    found = seen({"diversity": diversity, "G L1": np.full(len(steps), np.nan)}, steps)
    assert [(t.kind, t.step) for t in found] == [("collapse", 380)]


def test_idle_time_is_what_passes_between_steps(monkeypatch):
    clock = iter([11.0, 14.0, 15.0, 15.5, 16.0])  # nobody looks at it before the first step
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    idle = Idle(torch.device("cpu"))
    for _ in range(3):
        idle.step_begins()
        idle.step_ends()
    assert idle.seconds() == (14 - 11) + (15.5 - 15)
    assert idle.seconds() == 0
