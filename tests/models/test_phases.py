"""What a phase holds fixed comes back as it was, and what phases share is computed as if it had been computed once."""

import torch
from torch import nn

from recast.models.draws import Dropout, Rows
from recast.models.recipes.phases import Part, frozen, spare_buffers


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Dropout(0.5))


def part_of(net, alone):
    rows = Rows(torch.arange(3), 3)
    batch = {"x": torch.rand(3, 4)}
    return Part(batch=batch, networks={"G": net}, road=None, rows=rows, together=rows, alone=alone)


def test_frozen_gives_back_exactly_what_it_took():
    """A layer that was fixed before stays fixed, one that was in evaluation mode stays so; whatever happens within."""
    net = network()
    net[0].bias.requires_grad_(False)
    net[1].eval()
    before = [p.requires_grad for p in net.parameters()], [m.training for m in net.modules()]
    with frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
        assert [m.training for m in net.modules()] == before[1]
        net.train()
    assert ([p.requires_grad for p in net.parameters()], [m.training for m in net.modules()]) == before


def test_gradients_flow_through_what_is_frozen():
    net, x = nn.Linear(4, 1), torch.rand(2, 4, requires_grad=True)
    with frozen(net):
        net(x).sum().backward()
    assert x.grad is not None
    assert net.weight.grad is None


def test_what_phases_share_is_computed_once():
    net, times = network(), []
    part = part_of(net, alone=True)
    first, second = (part.once("made", lambda: (times.append(0), net(part.batch["x"]))[1]) for _ in range(2))
    assert first is second
    assert times == [0]


def test_what_was_forgotten_is_computed_as_before():
    """The same draws, the same result, running statistics that followed once, and later draws as if nothing were."""
    net = network()
    part = part_of(net, alone=False)
    first = part.once("made", lambda: net(part.batch["x"]))
    running, state = net[1].running_mean.clone(), torch.get_rng_state()
    part.forget()
    again = part.once("made", lambda: net(part.batch["x"]))
    assert again is not first
    assert torch.equal(again, first)
    assert torch.equal(net[1].running_mean, running)
    assert net[1].num_batches_tracked == 1
    assert torch.equal(torch.get_rng_state(), state)
    again.sum().backward()
    assert net[0].weight.grad is not None


def test_what_has_no_gradient_is_not_forgotten():
    part = part_of(network(), alone=False)
    part.kept |= {"image": (torch.ones(2), torch.ones(2)), "made": (torch.ones(2), torch.ones(2, requires_grad=True))}
    part.forget()
    assert part.kept.keys() == {"image"}


def test_spare_buffers_are_thrown_away():
    net = network()
    own = net[1].running_mean
    with spare_buffers([net]):
        net(torch.rand(3, 4))
    assert net[1].running_mean is own
    assert torch.equal(own, torch.zeros(4))
