"""Exported generators: the files run by themselves, at other sizes and batches than they were made with."""

import io

import numpy as np
import onnxruntime
import pytest
import torch

from recast.models.description import BundleError
from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.exchange import FORMATS, exported
from recast.models.joined import joined
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


POSE = NetworkInput(name="pose", kind="image", channels=1)
CODE = NetworkInput(name="code", kind="code", channels=4, value_range=(-2.0, 2.0))
FURTHER = (
    POSE,
    NetworkInput(name="classes", kind="labels", channels=5),
    NetworkInput(name="points", kind="points", channels=2),
    NetworkInput(name="noise", kind="noise", channels=3, value_range=(-9.0, 9.0)),
)


def several(*inputs: NetworkInput) -> Descriptor:
    return Descriptor(task="translate", inputs=inputs)


class Modulated(torch.nn.Module):
    """Takes a tensor for each of its inputs: a code that decides the colours, and two images."""

    def __init__(self) -> None:
        super().__init__()
        self.colours, self.conv = torch.nn.Linear(4, 3), torch.nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, code: torch.Tensor, image: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.cat([image, pose], 1)) * self.colours(code)[:, :, None, None]


IMAGE = NetworkInput(name="image", kind="image")
TAKING_SEVERAL = {
    "the channels of one tensor": (several(IMAGE, *FURTHER), 3 + 1 + 5 + 4 + 3),
    "a tensor each": (several(CODE, IMAGE, POSE), 0),
}


def taking_several(case: str) -> tuple[torch.nn.Module, Descriptor]:
    descriptor, channels = TAKING_SEVERAL[case]
    torch.manual_seed(0)
    arguments = {"in_channels": channels, "channels": 4, "growth": 2, "blocks": 1, "ups": 0}
    return (NETWORKS["rrdb"](**arguments) if channels else Modulated()).eval(), descriptor


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("case", TAKING_SEVERAL)
def test_a_file_takes_every_input_of_its_network(case, ending):
    _, off = exported(*taking_several(case), ending)
    assert off < 1e-3


@pytest.mark.parametrize("case", TAKING_SEVERAL)
def test_onnx_names_the_inputs_as_the_bundle_does(case):
    """Its numbers are torch's when it is fed by name, in any order."""
    network, descriptor = taking_several(case)
    data, _ = exported(network, descriptor, ".onnx")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == [each.name for each in descriptor.takes]
    random = np.random.default_rng(0)
    fed = {
        each.name: random.random((2, each.channels, 20, 28) if each.has_pixels else (2, each.numbers), np.float32)
        for each in descriptor.takes
    }
    (given,) = session.run(None, dict(reversed(fed.items())))
    with torch.no_grad():
        wanted = joined(network, len(fed))(*map(torch.from_numpy, fed.values()))
    torch.testing.assert_close(torch.from_numpy(given), wanted, rtol=1e-4, atol=1e-4)


def test_what_can_not_be_given_outside_is_refused():
    previous = NetworkInput(name="before", kind="previous")
    for descriptor, why in (
        (several(IMAGE, previous), r"the input before \(previous\) can't be exported"),
        (Descriptor(task="generate", conditions=("latent", "label")), r"conditions \(latent, label\) can't"),
    ):
        with pytest.raises(BundleError, match=why):
            exported(Modulated(), descriptor, ".onnx")


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
