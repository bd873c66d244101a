"""Large images through networks with instance norm keep their colours: the result is the whole image's."""

import dataclasses
import errno
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.networks import NETWORKS
from recast.models.networks.layers import InstanceNorm
from recast.pipeline.bulk import layerwise, tiles
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.layerwise import LayerByLayer
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.shards import ScratchError
from tests.pipeline.bulk.test_generator import pictures_of

SIGNED = {"value_range": (-1.0, 1.0), "min_size_px": 16, "size_multiple": 4}
CASES = {
    "resnet": ("resnet_generator", {"blocks": 2, "ngf": 8}, SIGNED),
    "unet": ("unet", {"num_downs": 5, "ngf": 8, "norm": "instance"}, SIGNED | {"min_size_px": 32, "size_multiple": 32}),
    "transform": ("transform_net", {"width": 8}, SIGNED | {"value_range": (0.0, 255.0)}),
}


def lively(name, arguments):
    """A network whose layers all matter: fresh GAN weights are nearly zero."""
    torch.manual_seed(0)
    network = NETWORKS[name](**arguments).eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight)
    if name == "transform_net":  # which has no tanh after its last layer: make its values those of an image
        network.deconv3.conv2d.weight.data *= 40
        nn.init.constant_(network.deconv3.conv2d.bias, 128)
    return network


def uneven(height, width):
    """A picture whose left is dark and whose right is light, as tiles of their own would each stretch."""
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    return Picture(pixels=(noise + np.linspace(0, 195, width)[None, :, None]).astype(np.uint8))


def large_from(pixels, monkeypatch):
    """Take images of more pixels for large ones, and small tiles for enough of them."""
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", pixels)
    monkeypatch.setattr(tiles, "CORE_PX", 64)


def generator(network, facts, precision="fp32"):
    descriptor = Descriptor(task="translate", **facts)
    return pictures_of(Generator(network, descriptor, device="cpu", precision=precision, batch_size=1))


def exact(network, facts, pixels):
    """The whole image's result, computed in double precision."""
    low, high = facts["value_range"]
    multiple = facts["size_multiple"]
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255 * (high - low) + low
    height, width = pixels.shape[:2]
    values = F.pad(values, (0, -width % multiple, 0, -height % multiple), mode="reflect")
    with torch.inference_mode():
        made = network.double()(values)[0, :, :height, :width]
    network.float()
    return (((made - low) / (high - low)).permute(1, 2, 0) * 255).clamp(0, 255).numpy()


@pytest.mark.parametrize("case", CASES)
def test_a_large_image_gets_the_whole_images_result(case, monkeypatch):
    name, arguments, facts = CASES[case]
    network, given = lively(name, arguments), uneven(101, 330)
    expected = exact(network, facts, given.pixels)
    large_from(10_000, monkeypatch)
    monkeypatch.setattr(layerwise, "STRIP_BYTES", 30_000)
    (result,) = generator(network, facts)([given])
    assert result.notes == ("computed layer by layer",)
    assert np.abs(result.pixels - expected).max() <= 1
    assert np.ptp(expected) > 50  # or the test could not fail


class Guided(nn.Module):
    """Takes two tensors, and sees one through norms of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.pose = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(1, 8, 3, padding=1)
        self.norms, self.last = nn.ModuleList([InstanceNorm(8), InstanceNorm(8)]), nn.Conv2d(16, 3, 5, padding=2)
        self.tanh = nn.Tanh()

    def forward(self, image: Tensor, pose: Tensor) -> Tensor:
        seen = self.norms[0](self.image(image)), self.norms[1](self.pose(pose))
        return self.tanh(self.last(torch.cat(seen, 1)))


POSE = NetworkInput(name="pose", kind="image", channels=1, value_range=(-1.0, 1.0))
CODE = NetworkInput(name="code", kind="code", channels=2)
SEVERAL = {
    "the channels of one tensor": (lambda: lively("resnet_generator", {"blocks": 1, "ngf": 8, "in_channels": 6}), CODE),
    "a tensor each": (Guided, None),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_further_inputs_go_through_the_layers_too(case, monkeypatch):
    """Every norm takes the statistics of all of them; padded alike."""
    build, code = SEVERAL[case]
    torch.manual_seed(0)
    network, image = build().eval(), uneven(101, 330)
    pose = uneven(101, 330).pixels[:, ::-1, :1].copy()
    first = NetworkInput(name="image", kind="image", value_range=(-1.0, 1.0))
    facts = SIGNED | {"inputs": (first, POSE, *([code] if code else []))}
    given = dataclasses.replace(
        image, further=(Picture(pixels=pose), *([np.array([0.25, 1.0], np.float32)] if code else []))
    )
    (whole,) = generator(network, facts)([given])
    large_from(10_000, monkeypatch)
    monkeypatch.setattr(layerwise, "STRIP_BYTES", 30_000)
    (result,) = generator(network, facts)([given])
    assert result.notes == ("computed layer by layer",)
    assert np.abs(result.pixels.astype(int) - whole.pixels).max() <= 1
    assert np.ptp(whole.pixels) > 50
    (other,) = generator(network, facts)([dataclasses.replace(given, further=(image, *given.further[1:]))])
    assert not np.array_equal(other.pixels, result.pixels)


def test_strips_do_not_decide_the_pixels(monkeypatch):
    network = lively(*CASES["resnet"][:2])
    large_from(10_000, monkeypatch)
    made = []
    for strip_bytes in (10_000, 100_000, 64 << 20):
        monkeypatch.setattr(layerwise, "STRIP_BYTES", strip_bytes)
        made.append(generator(network, SIGNED)([uneven(101, 330)])[0].pixels.astype(int))
    assert all(np.abs(other - made[0]).max() <= 1 for other in made)


def test_values_that_are_not_finite_are_a_fault(monkeypatch):
    network = lively(*CASES["resnet"][:2])
    next(network.parameters()).data[0] = float("inf")
    large_from(10_000, monkeypatch)
    (result,) = generator(network, SIGNED)([uneven(64, 330)])
    assert getattr(result, "kind", "") == "generator"


def test_a_full_scratch_folder_is_told_of_and_no_row_of_the_image(monkeypatch):
    """It is found out before a mapped file is written to, which would kill the process."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    large_from(10_000, monkeypatch)
    with pytest.raises(ScratchError, match="has no room for .* bytes of a large image's layers"):
        generator(lively(*CASES["resnet"][:2]), SIGNED)([uneven(64, 330)])


def test_what_a_layer_raises_is_about_the_image_and_no_mistake_of_ours(monkeypatch):
    def narrow(self, x):
        if x.shape[3] > 300:
            raise RuntimeError("the image is too wide\nfor this layer")
        return original(self, x)

    original = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", narrow)
    large_from(10_000, monkeypatch)
    with pytest.raises(InputError, match="the image is too wide$"):
        generator(lively(*CASES["resnet"][:2]), SIGNED)([uneven(64, 330)])


class Unknown(nn.Module):
    """An instance norm beside a layer that looks at all of the image, which no strip can."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.pool = InstanceNorm(3), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.pool(x)


class Far(nn.Module):
    """A convolution that reaches further than strips overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.far = InstanceNorm(3), nn.Conv2d(3, 3, 41, padding=20)

    def forward(self, x: Tensor) -> Tensor:
        return self.far(self.norm(x))


def test_layers_that_are_not_known_are_left_to_blended_tiles():
    """So that nothing is computed wrongly in silence; a network without instance norms has no need of it."""
    descriptor = Descriptor(task="translate", **SIGNED)
    for network in (Unknown(), Far(), NETWORKS["edsr"](scale=2, channels=4, blocks=1)):
        assert LayerByLayer.of(network.eval(), descriptor, torch.device("cpu")) is None
