"""Exported generators: the files run by themselves, at other sizes and batches than they were made with."""

import io

import pytest
import torch

from recast.models.bundle import BundleError
from recast.models.descriptor import Descriptor
from recast.models.exchange import FORMATS, exported
from recast.models.networks import NETWORKS

GENERATORS = {
    "resnet_generator": ({"ngf": 8, "blocks": 2}, Descriptor(task="translate", size_multiple=4, value_range=(-1, 1))),
    "unet": (
        {"num_downs": 5, "ngf": 4},
        Descriptor(task="translate", size_multiple=32, min_size_px=32, value_range=(-1, 1)),
    ),
    "edsr": ({"scale": 2, "channels": 8, "blocks": 2}, Descriptor(task="upscale", scale=2)),
    "msrresnet": ({"channels": 8, "blocks": 2}, Descriptor(task="upscale", scale=4)),
    "rrdb": (
        {"channels": 8, "growth": 4, "blocks": 1, "unshuffle": 2},
        Descriptor(task="upscale", scale=2, size_multiple=2),
    ),
    "srvgg": ({"channels": 8, "convolutions": 2}, Descriptor(task="upscale", scale=4)),
    "transform_net": ({}, Descriptor(task="translate", size_multiple=4, value_range=(0, 255))),
}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("name", GENERATORS)
def test_a_file_gives_the_networks_results(name, ending):
    """`exported` runs what it made, with another size and a batch, and says how far off it is."""
    arguments, descriptor = GENERATORS[name]
    torch.manual_seed(0)
    data, off = exported(NETWORKS[name](**arguments).eval(), descriptor, ending)
    assert len(data) > 1000
    assert off < 1e-3


def test_a_torchscript_file_needs_no_recast():
    arguments, descriptor = GENERATORS["srvgg"]
    network = NETWORKS["srvgg"](**arguments).eval()
    data, _ = exported(network, descriptor, ".pt")
    images = torch.rand(3, 3, 30, 22)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(io.BytesIO(data))(images), network(images))


class Fickle(torch.nn.Module):
    """Gives something else each time."""

    def forward(self, images):
        return images * torch.rand(1)


def test_a_file_that_gives_other_results_is_not_given_out():
    with pytest.raises(BundleError, match="gives other results than the bundle"):
        exported(Fickle(), Descriptor(task="translate"), ".pt")
