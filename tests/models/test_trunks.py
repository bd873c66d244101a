"""ResNets and feature pyramids: torchvision's names and numbers of parameters, and what the layers compute."""

import pytest
import torch
import torch.nn.functional as F

from recast.models.networks.pyramid import FeaturePyramid
from recast.models.networks.resnet import ResNet

PARAMETERS = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160}
"""torchvision's, without the classifier."""


@pytest.mark.parametrize("layers", PARAMETERS)
def test_there_are_as_many_parameters_as_in_the_public_networks(layers):
    assert sum(p.numel() for p in ResNet(layers).parameters()) == PARAMETERS[layers]


def test_a_bottleneck_has_its_stride_in_the_middle_and_features_have_four_strides():
    network = ResNet(50, width=8).eval()
    levels = network(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape) for level in levels] == [
        (2, 32 << n, 64 // stride, 96 // stride) for n, stride in enumerate((4, 8, 16, 32))
    ]
    assert network.channels == (32, 64, 128, 256)
    state = network.state_dict()
    assert state["layer2.0.conv2.weight"].shape == (16, 16, 3, 3)
    assert state["layer2.0.downsample.0.weight"].shape == (64, 32, 1, 1)
    assert network.layer2[0].conv2.stride == (2, 2)


def test_the_epsilon_of_batch_norms_is_what_is_asked_for():
    """With 0 the norm is exactly (x - mean) / deviation, as the first public networks of torchvision have it."""
    network = ResNet(10, width=4, norm_eps=0.0)
    assert {m.eps for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.0}
    with pytest.raises(ValueError, match="a ResNet of 19 layers is not known; there are 10, 18, 34, 50, 101"):
        ResNet(19)


def test_a_pyramid_adds_what_is_coarser():
    """Level by level by hand, on sizes that do not halve exactly."""
    torch.manual_seed(0)
    pyramid = FeaturePyramid((4, 6, 8), 5)
    fine, middle, coarse = torch.rand(1, 4, 13, 9), torch.rand(1, 6, 7, 5), torch.rand(1, 8, 4, 3)
    state = pyramid.state_dict()

    def conv(kind, number, x):
        weight = state[f"{kind}_blocks.{number}.0.weight"]
        return F.conv2d(x, weight, state[f"{kind}_blocks.{number}.0.bias"], padding=weight.shape[2] // 2)

    three = conv("inner", 2, coarse)
    rows, columns = torch.arange(7) * 4 // 7, torch.arange(5) * 3 // 5
    two = conv("inner", 1, middle) + three[:, :, rows][:, :, :, columns]
    rows, columns = torch.arange(13) * 7 // 13, torch.arange(9) * 5 // 9
    one = conv("inner", 0, fine) + two[:, :, rows][:, :, :, columns]
    wanted = [conv("layer", n, x) for n, x in enumerate((one, two, three))]
    for made, want in zip(pyramid((fine, middle, coarse)), wanted, strict=True):
        torch.testing.assert_close(made, want)
