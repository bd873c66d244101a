"""Networks have the shapes, sizes and receptive fields that their descriptors and papers state."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recast.models.networks import NETWORKS
from recast.models.networks.edsr import EDSR
from recast.models.networks.layers import Doubling, Halving
from recast.models.networks.patchgan import PatchGAN, PixelGAN
from recast.models.networks.resnet_generator import ResnetGenerator
from recast.models.networks.unet import UNet
from recast.models.networks.winograd import Conv3x3


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (UNet(num_downs=8, ngf=64, norm="batch"), 54_413_955),
        (PatchGAN(in_channels=3, norm="instance"), 2_764_737),
        (PatchGAN(in_channels=6, norm="batch"), 2_768_705),
        (PixelGAN(in_channels=6, norm="batch"), 9_024),
        (ResnetGenerator(blocks=9), 11_378_179),
    ],
    ids=["unet_256", "patchgan-3", "patchgan-6", "pixelgan-6", "resnet_9blocks"],
)
def test_parameter_counts_are_the_references(network, count):
    """Networks of the papers have exactly as many parameters as pytorch-CycleGAN-and-pix2pix's."""
    assert parameters(network) == count


def test_parameter_names_are_the_references():
    """State dicts carry the names that public checkpoints do."""
    unet = UNet(num_downs=8).state_dict()
    innermost = "model." + "model.1." + "model.3." * 6
    assert {"model.model.0.weight", "model.model.3.bias", "model.model.1.model.2.running_mean"} <= unet.keys()
    assert {innermost + "model.1.weight", innermost + "model.3.weight", innermost + "model.4.bias"} <= unet.keys()
    patchgan = PatchGAN().state_dict()
    assert {f"model.{n}.weight" for n in (0, 2, 3, 5, 6, 8, 9, 11)} == {k for k in patchgan if k.endswith("weight")}
    resnet = ResnetGenerator(blocks=9).state_dict()
    numbered = {int(k.split(".")[1]) for k in resnet}
    assert numbered == {1, 4, 7, *range(10, 19), 19, 22, 26}
    assert {"model.10.conv_block.1.weight", "model.10.conv_block.5.weight"} <= resnet.keys()
    assert "model.10.conv_block.6.weight" in ResnetGenerator(blocks=9, dropout=0.5).state_dict()


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_unet_keeps_size(norm):
    """A U-Net gives images of the size it takes, in [-1, 1]."""
    image = torch.rand(2, 3, 32, 64) * 2 - 1
    output = UNet(num_downs=5, ngf=4, norm=norm)(image)
    assert output.shape == (2, 3, 32, 64)
    assert output.abs().max() <= 1


def test_resnet_generator_keeps_size():
    """The residual generator gives images of the size it takes."""
    assert ResnetGenerator(blocks=2, ngf=4)(torch.rand(1, 3, 36, 40)).shape == (1, 3, 36, 40)


def test_patchgan_judges_patches():
    """The 70 px discriminator gives 30 x 30 verdicts on 256 px, as in the paper."""
    assert PatchGAN(ndf=4)(torch.rand(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("network", "arguments"), [("unet", {"norm": "layer"}), ("unet", {"num_downs": 1})])
def test_unknown_arguments_are_refused(network, arguments):
    """A network that can't be built says so in a sentence."""
    with pytest.raises(ValueError, match=r"norm is 'layer'|num_downs is 1"):
        NETWORKS[network](**arguments)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upscaler_multiplies_size(scale):
    """An upscaler gives `scale` times the height and width."""
    assert EDSR(scale=scale, channels=8, blocks=2)(torch.rand(2, 3, 10, 14)).shape == (2, 3, 10 * scale, 14 * scale)


def test_fresh_upscaler_is_nearly_bicubic():
    """Before training, an upscaler already gives about what interpolation gives."""
    image = torch.rand(1, 3, 16, 16)
    bicubic = nn.functional.interpolate(image, scale_factor=2, mode="bicubic")
    assert (EDSR(scale=2, channels=16, blocks=2)(image) - bicubic).abs().mean() < 0.1


@pytest.mark.parametrize("scale", [2, 4])
def test_halo_is_the_receptive_field(scale):
    """A pixel outside the halo leaves an output pixel unchanged, bit for bit; one at its edge does not."""
    torch.manual_seed(0)
    network = EDSR(scale=scale, channels=8, blocks=3).double()
    for p in network.parameters():
        nn.init.uniform_(p, 0.01, 0.02)  # positive weights: no path is cut off by a ReLU
    halo, size = network.halo_px, 2 * network.halo_px + 5
    middle = size // 2
    image = torch.rand(1, 3, size, size, dtype=torch.double)
    rows = slice(middle * scale, (middle + 1) * scale)

    def at_the_middle(changed_row: int) -> torch.Tensor:
        changed = image.clone()
        changed[..., changed_row, middle] += 1
        return network(changed)[..., rows, rows]

    unchanged = network(image)[..., rows, rows]
    assert torch.equal(at_the_middle(middle + halo + 1), unchanged)
    assert torch.equal(at_the_middle(middle - halo - 1), unchanged)
    assert not torch.equal(at_the_middle(middle + halo), unchanged)
    assert not torch.equal(at_the_middle(middle - halo), unchanged)


@pytest.mark.parametrize(("count", "before", "after", "size"), [(1, 128, 130, (6, 10)), (3, 140, 128, (18, 14))])
def test_winograds_convolution_is_the_convolution(count, before, after, size):
    """Values and gradients of the direct one, in training on a CPU; a bundle's generator takes the direct one."""
    torch.manual_seed(0)
    layer = Conv3x3(before, after)
    x = torch.randn(count, before, *size, requires_grad=True)
    direct = F.conv2d(x, layer.weight, layer.bias)
    made = layer(x)
    assert made.grad_fn.name() != direct.grad_fn.name()
    there = torch.randn_like(direct)
    for one, other in zip(
        (direct, *torch.autograd.grad(direct, (x, *layer.parameters()), there)),
        (made, *torch.autograd.grad(made, (x, *layer.parameters()), there)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * one.detach().abs().max().item())
    with torch.no_grad():
        assert torch.equal(layer.eval()(x), direct)


@pytest.mark.parametrize("pixels", [1, 2, 4, 16])
def test_products_for_few_pixels_are_the_convolutions(pixels):
    """A U-Net's innermost halvings and doublings, as matrix products in training, with a bias and without."""
    torch.manual_seed(0)
    for layer in (Halving(6, 5), Halving(6, 5, bias=False), Doubling(6, 5), Doubling(6, 5, bias=False)):
        x = torch.randn(2, 6, 2 * pixels, 2 * pixels if pixels < 16 else 2, requires_grad=True)
        made = layer(x)
        direct = super(type(layer), layer).forward(x)
        there = torch.randn_like(direct)
        for one, other in zip(
            (direct, *torch.autograd.grad(direct, (x, *layer.parameters()), there)),
            (made, *torch.autograd.grad(made, (x, *layer.parameters()), there)),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
