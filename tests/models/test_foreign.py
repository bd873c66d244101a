"""Other programs' generators: recognised by names and shapes, run to the original's values, never as code.

The references here are written apart from `models/networks`, in plain torch, with the published files' names.
"""

import io
import os

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import nn

from models import foreign
from models.bundle import BundleError
from models.networks import NETWORKS


def conv(before, after, kernel=3, **more):
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **more)


class Block(nn.Module):
    """pytorch-CycleGAN-and-pix2pix's ResnetBlock."""

    def __init__(self, width, norm, dropout, bias):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x):
        return x + self.conv_block(x)


class Resnet(nn.Module):
    def __init__(self, ngf=8, blocks=6, norm=nn.InstanceNorm2d, dropout=False):
        super().__init__()
        bias = norm is not nn.BatchNorm2d
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7, bias=bias), norm(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm(2 * width), nn.ReLU()]
        layers += [Block(4 * ngf, norm, dropout, bias) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=bias), norm(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())

    def forward(self, x):
        return self.model(x)


def old_instance_norm(width):
    """As files of before torch 0.4 have it: with running statistics, which a forward in eval mode must not use."""
    return nn.InstanceNorm2d(width, track_running_stats=True).train()


class Skip(nn.Module):
    """pytorch-CycleGAN-and-pix2pix's UnetSkipConnectionBlock."""

    def __init__(self, outer, inner, sub=None, outermost=False, norm=nn.BatchNorm2d, given=None, dropout=False):
        super().__init__()
        self.outermost = outermost
        bias = norm is not nn.BatchNorm2d
        down = nn.Conv2d(given or outer, inner, 4, 2, 1, bias=bias)
        if outermost:
            layers = [down, sub, nn.ReLU(), nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1), nn.Tanh()]
        elif sub is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, norm(inner), sub, nn.ReLU(), up, norm(outer)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, downs=6, ngf=4, norm=nn.BatchNorm2d):
        super().__init__()
        block = Skip(8 * ngf, 8 * ngf, norm=norm)
        for _ in range(downs - 5):
            block = Skip(8 * ngf, 8 * ngf, block, norm=norm, dropout=True)
        for outer in (4, 2, 1):
            block = Skip(outer * ngf, 2 * outer * ngf, block, norm=norm)
        self.model = Skip(3, ngf, block, outermost=True, norm=norm, given=3)

    def forward(self, x):
        return self.model(x)


class SRBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class MSR(nn.Module):
    def __init__(self, scale, width=8, blocks=3):
        super().__init__()
        self.scale = scale
        self.conv_first = conv(3, width)
        self.body = nn.Sequential(*(SRBlock(width) for _ in range(blocks)))
        self.upconv1 = conv(width, width * (9 if scale == 3 else 4))
        if scale == 4:
            self.upconv2 = conv(width, width * 4)
        self.conv_hr, self.conv_last = conv(width, width), conv(width, 3)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        out = self.body(self.act(self.conv_first(x)))
        out = self.act(nn.PixelShuffle(3 if self.scale == 3 else 2)(self.upconv1(out)))
        if self.scale == 4:
            out = self.act(nn.PixelShuffle(2)(self.upconv2(out)))
        base = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return self.conv_last(self.act(self.conv_hr(out))) + base


class Dense(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.conv1, self.conv2 = conv(width, growth), conv(width + growth, growth)
        self.conv3, self.conv4 = conv(width + 2 * growth, growth), conv(width + 3 * growth, growth)
        self.conv5 = conv(width + 4 * growth, width)

    def forward(self, x):
        a = F.leaky_relu(self.conv1(x), 0.2)
        b = F.leaky_relu(self.conv2(torch.cat((x, a), 1)), 0.2)
        c = F.leaky_relu(self.conv3(torch.cat((x, a, b), 1)), 0.2)
        d = F.leaky_relu(self.conv4(torch.cat((x, a, b, c), 1)), 0.2)
        return self.conv5(torch.cat((x, a, b, c, d), 1)) * 0.2 + x


class Residual(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x):
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class ESRGAN(nn.Module):
    def __init__(self, scale, width=8, growth=4, blocks=2):
        super().__init__()
        self.pack = {4: 1, 2: 2, 1: 4}[scale]
        self.conv_first = conv(3 * self.pack**2, width)
        self.body = nn.Sequential(*(Residual(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2 = conv(width, width), conv(width, width), conv(width, width)
        self.conv_hr, self.conv_last = conv(width, width), conv(width, 3)

    def forward(self, x):
        x = self.conv_first(F.pixel_unshuffle(x, self.pack))
        x = x + self.conv_body(self.body(x))
        x = F.leaky_relu(self.conv_up1(F.interpolate(x, scale_factor=2)), 0.2)
        x = F.leaky_relu(self.conv_up2(F.interpolate(x, scale_factor=2)), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))


def in_esrgans_names(state):
    """xinntao/ESRGAN's RRDBNet_arch."""
    names = {"body": "RRDB_trunk", "conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2",
             "conv_hr": "HRconv", "rdb1": "RDB1", "rdb2": "RDB2", "rdb3": "RDB3"}  # fmt: skip
    return {".".join(names.get(part, part) for part in key.split(".")): v for key, v in state.items()}


def in_first_names(state):
    """ESRGAN's first files: nested sequences, numbered."""
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("body."))
    places = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_up1": "model.3",
              "conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"}  # fmt: skip
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "body":
            new = f"model.1.sub.{parts[1]}.{parts[2].upper()}.{parts[3]}.0.{parts[4]}"
        else:
            new = f"{places[parts[0]]}.{parts[1]}"
        renamed[new] = value
    return renamed


class Compact(nn.Module):
    def __init__(self, scale, width=8, convolutions=4, act=None):
        super().__init__()
        self.scale = scale
        act = act or (lambda: nn.PReLU(width))
        layers = [conv(3, width), act()]
        for _ in range(convolutions):
            layers += [conv(width, width), act()]
        self.body = nn.ModuleList([*layers, conv(width, 3 * scale**2)])

    def forward(self, x):
        out = x
        for layer in self.body:
            out = layer(out)
        return nn.PixelShuffle(self.scale)(out) + F.interpolate(x, scale_factor=self.scale, mode="nearest")


class Conv(nn.Module):
    """fast_neural_style's ConvLayer and UpsampleConvLayer."""

    def __init__(self, before, after, kernel, stride=1, up=None):
        super().__init__()
        self.up, self.pad = up, nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(before, after, kernel, stride)

    def forward(self, x):
        return self.conv2d(self.pad(F.interpolate(x, mode="nearest", scale_factor=self.up) if self.up else x))


class StyleBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = Conv(128, 128, 3), Conv(128, 128, 3)
        self.in1, self.in2 = (nn.InstanceNorm2d(128, affine=True) for _ in range(2))

    def forward(self, x):
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class Style(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Conv(3, 32, 9), Conv(32, 64, 3, 2), Conv(64, 128, 3, 2)
        self.in1, self.in2, self.in3, self.in4, self.in5 = (
            nn.InstanceNorm2d(n, affine=True) for n in (32, 64, 128, 64, 32)
        )
        self.res1, self.res2, self.res3, self.res4, self.res5 = (StyleBlock() for _ in range(5))
        self.deconv1, self.deconv2, self.deconv3 = Conv(128, 64, 3, up=2), Conv(64, 32, 3, up=2), Conv(32, 3, 9)

    def forward(self, x):
        y = F.relu(self.in3(self.conv3(F.relu(self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))))))
        y = self.res5(self.res4(self.res3(self.res2(self.res1(y)))))
        return self.deconv3(F.relu(self.in5(self.deconv2(F.relu(self.in4(self.deconv1(y)))))))


def plain(state):
    return state


REFERENCES = {
    "resnet": (lambda: Resnet(), plain, "a ResNet generator of 6 blocks", (-1, 1)),
    "resnet 9, dropout": (lambda: Resnet(blocks=9, dropout=True), plain, "a ResNet generator of 9 blocks", (-1, 1)),
    "resnet, batch norm": (lambda: Resnet(norm=nn.BatchNorm2d), plain, "a ResNet generator of 6 blocks", (-1, 1)),
    "resnet, old": (lambda: Resnet(norm=old_instance_norm), plain, "a ResNet generator of 6 blocks", (-1, 1)),
    "unet": (lambda: Unet(), plain, "a U-Net of 6 levels", (-1, 1)),
    "unet, instance norm": (lambda: Unet(5, norm=nn.InstanceNorm2d), plain, "a U-Net of 5 levels", (-1, 1)),
    "msrresnet x4": (lambda: MSR(4), plain, "MSRResNet", (0, 1)),
    "msrresnet x3": (lambda: MSR(3), plain, "MSRResNet", (0, 1)),
    "msrresnet x2": (lambda: MSR(2), plain, "MSRResNet", (0, 1)),
    "rrdb x4": (lambda: ESRGAN(4), plain, "RRDBNet", (0, 1)),
    "rrdb x2": (lambda: ESRGAN(2), plain, "RRDBNet", (0, 1)),
    "rrdb x1": (lambda: ESRGAN(1), plain, "RRDBNet", (0, 1)),
    "rrdb x4, esrgan": (lambda: ESRGAN(4), in_esrgans_names, "RRDBNet (ESRGAN's names)", (0, 1)),
    "rrdb x4, first": (lambda: ESRGAN(4), in_first_names, "RRDBNet (ESRGAN's first names)", (0, 1)),
    "srvgg x4": (lambda: Compact(4), plain, "SRVGGNetCompact", (0, 1)),
    "srvgg x2, relu": (lambda: Compact(2, act=nn.ReLU), plain, "SRVGGNetCompact", (0, 1)),
    "style": (lambda: Style(), plain, "fast neural style's transform network", (0, 255)),
}


def randomised(network):
    """Weights and statistics that matter: fresh norms do nothing."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.copy_(torch.rand(tensor.shape) * 0.5 + (0.5 if "var" in name or "weight" in name else 0))
    return network


def reference(name):
    make, rename, family, values = REFERENCES[name]
    torch.manual_seed(0)
    with torch.no_grad():
        network = randomised(make()).eval()
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.train()  # by the image's own statistics, as every version since 0.4 has it
    return network, rename(network.state_dict()), family, values


@pytest.mark.parametrize("name", REFERENCES)
def test_a_checkpoint_is_recognised_and_gives_the_originals_values(name):
    network, state, family, (low, high) = reference(name)
    found = foreign.recognise(state, "x.pth")
    assert found.family == family
    assert found.descriptor.value_range == (low, high)
    ours = NETWORKS[found.network](**found.arguments)
    ours.load_state_dict(found.state)
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * (high - low) + low
    with torch.no_grad():
        expected, given = network(x), ours.eval()(x)
    assert given.shape == expected.shape == (1, 3, *(64 * found.descriptor.scale,) * 2)
    assert expected.std() > 1e-3 * (high - low)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4 * (high - low))


@pytest.mark.parametrize(("name", "arguments", "parameters"), [
    ("resnet_generator", {}, 11_378_179), ("unet", {}, 54_413_955), ("msrresnet", {}, 1_517_571),
    ("rrdb", {}, 16_697_987),
])  # fmt: skip
def test_published_sizes(name, arguments, parameters):
    """The numbers of parameters of the published models."""
    assert sum(p.numel() for p in NETWORKS[name](**arguments).parameters()) == parameters


def packed(value):
    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()


def test_wrappers_are_seen_through_and_averaged_weights_preferred():
    _, state, _, _ = reference("srvgg x4")
    averaged = {k: v + 1 for k, v in state.items()}
    assert foreign.load(packed({"params": state, "params_ema": averaged}), "x").keys() == state.keys()
    loaded = foreign.load(packed({"params": state, "params_ema": averaged, "epoch": 3}), "x")
    assert all(torch.equal(loaded[k], averaged[k]) for k in state)
    in_parallel = {f"module.{k}": v for k, v in state.items()}
    assert foreign.recognise(foreign.load(packed({"state_dict": in_parallel}), "x"), "x").network == "srvgg"
    assert foreign.load(save(state), "x").keys() == state.keys()


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/recast-was-here",)


def test_pickled_code_is_never_run(tmp_path):
    with pytest.raises(BundleError, match="can't be read as weights alone"):
        foreign.load(packed({"params": {"a": Evil()}}), "x.pth")
    assert not os.path.exists("/tmp/recast-was-here")
    with pytest.raises(BundleError, match="can't be read as weights alone"):
        foreign.load(packed(nn.Linear(2, 2)), "x.pth")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PK\3\4 more nonsense", packed([1, 2]), packed({"a": 3})])
def test_files_that_hold_no_weights_are_one_sentence(data):
    with pytest.raises(BundleError, match="weights alone|no state dict"):
        foreign.load(data, "x.pth")


def test_what_is_not_known_and_what_does_not_fit_is_said():
    with pytest.raises(BundleError, match="no generator that is known here; its parameters begin with fc.weight"):
        foreign.recognise({"fc.weight": torch.zeros(2, 2)}, "x.pth")
    _, state, _, _ = reference("rrdb x4")
    del state["conv_hr.bias"]
    with pytest.raises(BundleError, match="looks like RRDBNet, but conv_hr.bias is missing"):
        foreign.recognise(state, "x.pth")
