"""Other programs' generators: recognised by names and shapes, run to the original's values, never as code."""

import argparse
import io
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from recast.models import foreign
from recast.models.description import BundleError
from recast.models.networks import NETWORKS
from tests.models.originals import ESRGAN, MSR, Compact, Resnet, Style, Unet, no_norm, old_instance_norm


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


def test_pickled_code_is_never_run_and_tensors_beside_it_are_read():
    _, state, _, _ = reference("srvgg x4")
    beside = {"args": argparse.Namespace(lr=1), "best": np.float64(1), "log": [np.arange(3)], "evil": Evil()}
    loaded = foreign.load(packed({"params": state, **beside}), "x.pth")
    assert all(torch.equal(loaded[k], state[k]) for k in state)
    assert not os.path.exists("/tmp/recast-was-here")


REFUSED = {
    "of a class": (lambda: packed(nn.Linear(2, 2)), "is a pickled torch.nn.modules.linear.Linear"),
    "namespace": (lambda: packed(argparse.Namespace(lr=1)), "is a pickled argparse.Namespace"),
    "code alone": (lambda: packed({"params": {"a": Evil()}}), "no state dict"),
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"404: Not Found", "no checkpoint that can be read"),
    "no tensors": (lambda: packed([1, 2]), "no state dict"),
    "a number": (lambda: packed({"a": 3}), "no state dict"),
    "cut zip": (lambda: packed({"a": torch.zeros(99)})[:700], "is cut short"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "html": (lambda: b"\n<!DOCTYPE html><html>sign in</html>", "is a web page"),
    "torchscript": (lambda: scripted(), "is a TorchScript program"),
    "keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "tar": (lambda: bytes(257) + b"ustar" + bytes(250), "is a tar archive"),
    "expanded": (lambda: packed({"a": torch.zeros(1).expand(10**9)}), "claims tensors of"),
    "safetensors": (lambda: b"\x08" + bytes(7) + b"{nonsense", "is damaged"),
}


def scripted():
    data = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), data)
    return data.getvalue()


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_holds_no_weights_is_called_what_it_is(what):
    make, says = REFUSED[what]
    with pytest.raises(BundleError) as refused:
        foreign.load(make(), "x.pth")
    sentence = str(refused.value)
    assert says in sentence
    assert "\x1b" not in sentence
    assert "\n" not in sentence


NESTINGS = {
    "params-ema": lambda s: {"params-ema": s},
    "net": lambda s: {"net": s},
    "netG": lambda s: {"netG": s, "netD": {"model.0.weight": torch.zeros(4, 3, 4, 4)}},
    "g_ema beside g": lambda s: {"g": other(s), "g_ema": s, "d": {"w": torch.zeros(3)}},
    "deep": lambda s: {"checkpoint": {"models": {"gen": s}}, "optimizer": {"state": {"0": {"step": torch.ones(1)}}}},
    "prefix netG.": lambda s: {f"netG.{k}": v for k, v in s.items()},
    "prefix generator.module.": lambda s: {f"generator.module.{k}": v for k, v in s.items()},
    "lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 3},
    "lightning, both": lambda s: {
        "state_dict": {**{f"generator.{k}": v for k, v in s.items()}, "discriminator.0.weight": torch.zeros(3)}
    },
}


def other(state):
    return {key: value + 1 for key, value in state.items()}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("name", ["resnet", "unet", "srvgg x4"])
def test_a_generator_is_found_wherever_it_lies(nesting, name):
    _, state, family, _ = reference(name)
    found = foreign.identify(foreign.read(packed(NESTINGS[nesting](state)), "x"), "x")
    assert found.family == family
    first = next(key for key in state if key.endswith("weight"))
    assert torch.equal(found.state[first], state[first].float())


def test_of_several_generators_one_is_chosen_by_key():
    _, state, _, _ = reference("resnet")
    both = {"G_A2B": state, "G_B2A": other(state)}
    flat = {f"{side}.{k}": v for side, s in both.items() for k, v in s.items()}
    for given in (both, flat, {"state_dict": flat}):
        nested = foreign.read(packed(given), "x.ckpt")
        with pytest.raises(BundleError, match=r"several generators: .*G_A2B, .*G_B2A; choose one with --key"):
            foreign.identify(nested, "x.ckpt")
        key = "state_dict.G_B2A" if "state_dict" in given else "G_B2A"
        found = foreign.identify(nested, "x.ckpt", key)
        assert torch.equal(found.state["model.1.weight"], state["model.1.weight"] + 1)
        with pytest.raises(BundleError, match="has no entry 'G_C'"):
            foreign.identify(nested, "x.ckpt", "G_C")


@pytest.mark.parametrize(("make", "family"), [
    (lambda norm: Resnet(norm=norm), "a ResNet generator of 6 blocks"),
    (lambda norm: Unet(5, norm=norm), "a U-Net of 5 levels"),
])  # fmt: skip
def test_networks_without_normalisation_are_taken(make, family):
    """The original's `--norm none`: convolutions without biases, and nothing after them."""
    torch.manual_seed(0)
    network = make(no_norm).eval()
    found = foreign.identify(dict(network.state_dict()), "x.pth")
    assert found.family == family
    assert found.arguments["norm"] == "none"
    ours = NETWORKS[found.network](**found.arguments)
    ours.load_state_dict(found.state)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("network", "arguments", "says"), [
    ("resnet_generator", {"in_channels": 6}, "in_channels is 6; images have 1"),
    ("rrdb", {"in_channels": 5, "blocks": 1, "growth": 4}, "in_channels is 5; images have 1"),
    ("unet", {"out_channels": 7, "num_downs": 5, "ngf": 4}, "out_channels is 7; images have 1"),
])  # fmt: skip
def test_channels_that_no_image_has_are_said(network, arguments, says):
    with pytest.raises(BundleError, match=says):
        foreign.identify(dict(NETWORKS[network](**arguments).state_dict()), "x.pth")


def test_what_shapes_leave_open_is_said():
    """RRDBNet from 4 channels to 1 has the shapes of a grey one that unshuffles its input."""
    found = foreign.identify(dict(NETWORKS["rrdb"](in_channels=4, out_channels=1, blocks=1).state_dict()), "x.pth")
    assert found.arguments["unshuffle"] == 2
    assert "one from 4 channels to 1 would have the same shapes" in found.note
    assert (
        foreign.identify(dict(NETWORKS["rrdb"](in_channels=4, out_channels=4, blocks=1).state_dict()), "x").note == ""
    )


@pytest.mark.parametrize("state", [
    {"body.0.weight": torch.zeros(4, 3, 3, 3), "body.999999999.weight": torch.zeros(12, 4, 3, 3)},
    {"model." * 9999 + "model.0.weight": torch.zeros(4, 3, 4, 4), "model.model.0.weight": torch.zeros(4, 3, 4, 4)},
    {"model.1.weight": torch.zeros(3), "model.10.conv_block.1.weight": torch.zeros(1)},
    {key: torch.zeros(2) for key in ("conv_first.weight", "conv_body.weight", "body.0.rdb1.conv1.weight")},
])  # fmt: skip
def test_names_and_shapes_that_lie_are_refused_at_once(state):
    with pytest.raises(BundleError):
        foreign.identify(state, "x.pth")


def test_what_is_not_known_and_what_does_not_fit_is_said():
    with pytest.raises(BundleError, match="no generator that is known here; its parameters begin with fc.weight"):
        foreign.recognise({"fc.weight": torch.zeros(2, 2)}, "x.pth")
    _, state, _, _ = reference("rrdb x4")
    del state["conv_hr.bias"]
    with pytest.raises(BundleError, match="looks like RRDBNet, but conv_hr.bias is missing"):
        foreign.recognise(state, "x.pth")
