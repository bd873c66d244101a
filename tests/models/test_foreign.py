"""Other programs' generators: recognised by names and shapes, run to the original's values, never as code."""

import io
import os

import pytest
import torch
from safetensors.torch import save
from torch import nn

from recast.models import foreign
from recast.models.bundle import BundleError
from recast.models.networks import NETWORKS
from tests.models.originals import ESRGAN, MSR, Compact, Resnet, Style, Unet, old_instance_norm


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
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        prefixed = {prefix + k: v for k, v in state.items()}
        assert foreign.recognise(foreign.load(packed({"state_dict": prefixed}), "x"), "x").network == "srvgg"
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
