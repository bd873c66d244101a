"""Generators of other programs, recognised by their parameters' names and shapes alone, as bundles' networks."""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from recast.models.bundle import BundleError
from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS

State = dict[str, Tensor]

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "generator", "model")
"""Entries that programs keep a generator's weights under; averaged weights are preferred."""
PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before all names."""
SIGNED = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What a checkpoint turned out to be."""

    family: str
    """For people: `RRDBNet (ESRGAN's first form)`."""
    network: str
    arguments: Mapping[str, Any]
    state: State
    """Under our names."""
    descriptor: Descriptor


def load(data: bytes, name: str) -> State:
    """The tensors of a `.pth` or safetensors file; no code in it is run.

    Raises:
        BundleError: neither of them, or a file that holds more than tensors.
    """
    try:
        if not data.startswith(b"PK") and data[8:9] == b"{":
            return load_tensors(data)
        given = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as fault:
        reason = str(fault).strip().partition("\n")[0]
        raise BundleError(
            f"{name} can't be read as weights alone ({reason}); a file that needs code of its own to load is not "
            f"imported: save the network's state_dict() and import that"
        ) from fault
    return _tensors(given, name)


def recognise(state: State, name: str) -> Recognised:
    """The network that a state dict is of, and what it takes and gives.

    Raises:
        BundleError: none that is known, or one whose weights don't fit.
    """
    state = {PREFIXES.sub("", key): tensor.float() for key, tensor in state.items() if _is_weight(key, tensor)}
    for recogniser in RECOGNISERS:
        found = recogniser(dict(state))
        if found is not None:
            return _fitting(found, name)
    some = ", ".join(list(state)[:3])
    raise BundleError(
        f"{name} holds no generator that is known here; its parameters begin with {some or 'nothing'}. Known are the "
        f"ResNet and U-Net of pytorch-CycleGAN-and-pix2pix, MSRResNet, RRDBNet and SRVGGNetCompact of BasicSR and "
        f"Real-ESRGAN, fast neural style's transform network, and Pytorch_Retinaface's detectors"
    )


def _tensors(given: Any, name: str) -> State:
    for wrapper in WRAPPERS:
        if isinstance(given, Mapping) and isinstance(given.get(wrapper), Mapping):
            return _tensors(given[wrapper], name)
    if not isinstance(given, Mapping) or not given or not any(isinstance(v, Tensor) for v in given.values()):
        raise BundleError(f"{name} holds no state dict")
    return {str(key): value for key, value in given.items() if isinstance(value, Tensor)}


def _is_weight(key: str, tensor: Tensor) -> bool:
    return not key.endswith("num_batches_tracked") and (tensor.is_floating_point() or tensor.dim() > 0)


def _fitting(found: Recognised, name: str) -> Recognised:
    network = NETWORKS[found.network](**found.arguments)
    wanted = {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: tuple(v.shape) for k, v in found.state.items()}
    if wanted != given:
        odd = sorted(k for k in wanted.keys() | given.keys() if wanted.get(k) != given.get(k))
        raise BundleError(
            f"{name} looks like {found.family}, but {odd[0]} is {given.get(odd[0], 'missing')} where "
            f"{wanted.get(odd[0], 'nothing')} belongs (and {len(odd) - 1} more)"
        )
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    return Recognised(
        family=found.family, network=found.network, arguments=found.arguments, state={**found.state, **counters},
        descriptor=found.descriptor,
    )  # fmt: skip


def _numbers(state: State, pattern: str) -> list[int]:
    """The numbers that a pattern's group takes over all keys, sorted."""
    return sorted({int(found[1]) for key in state if (found := re.match(pattern, key))})


def _norm_of(state: State, layer: str) -> str:
    """`batch` where a normalisation has weights; `instance` where it has at most running statistics."""
    return "batch" if f"{layer}.weight" in state else "instance"


def _without_statistics(state: State) -> State:
    """Instance norms of before torch 0.4 carry running statistics that nothing reads."""
    return {k: v for k, v in state.items() if not re.search(r"\.running_(mean|var)$", k)}


def _resnet_generator(state: State) -> Recognised | None:
    """pytorch-CycleGAN-and-pix2pix's ResnetGenerator: a flat `model.N`; blocks from `model.10` on."""
    blocks = _numbers(state, r"model\.(\d+)\.conv_block\.")
    if "model.1.weight" not in state or not blocks:
        return None
    # Dropout moves the second convolution of a block from place 5 to 6, where a normalisation is otherwise.
    dropout = any(tensor.dim() == 4 for key, tensor in state.items() if key.endswith(".conv_block.6.weight"))
    norm = _norm_of(state, "model.2")
    last = max(_numbers(state, r"model\.(\d+)\.(?:weight|bias)$"))
    arguments = {
        "in_channels": state["model.1.weight"].shape[1],
        "out_channels": state[f"model.{last}.weight"].shape[0],
        "blocks": len(blocks),
        "ngf": state["model.1.weight"].shape[0],
        "norm": norm,
        "dropout": 0.5 if dropout else 0.0,
    }
    if norm == "instance":
        state = _without_statistics(state)
    return Recognised(
        family=f"a ResNet generator of {len(blocks)} blocks", network="resnet_generator", arguments=arguments,
        state=state, descriptor=_translation(arguments, multiple=4, least=16),
    )  # fmt: skip


def _unet(state: State) -> Recognised | None:
    """pytorch-CycleGAN-and-pix2pix's UnetGenerator: `model.model.1.model.3…`, a level for each halving."""
    if "model.model.0.weight" not in state:
        return None
    depth = max(key.count("model.") for key in state)
    norm = _norm_of(state, "model.model.1.model.2")
    arguments = {
        "in_channels": state["model.model.0.weight"].shape[1],
        "out_channels": state["model.model.3.weight"].shape[1],
        "num_downs": depth - 1,
        "ngf": state["model.model.0.weight"].shape[0],
        "norm": norm,
        "dropout": 0.5,
    }
    if norm == "instance":
        state = _without_statistics(state)
    multiple = 2 ** (depth - 1)
    return Recognised(
        family=f"a U-Net of {depth - 1} levels", network="unet", arguments=arguments, state=state,
        descriptor=_translation(arguments, multiple=multiple, least=multiple),
    )  # fmt: skip


def _translation(arguments: Mapping[str, Any], multiple: int, least: int) -> Descriptor:
    return Descriptor(
        task="translate", in_channels=arguments["in_channels"], out_channels=arguments["out_channels"],
        size_multiple=multiple, min_size_px=least, value_range=SIGNED,
    )  # fmt: skip


def _msrresnet(state: State) -> Recognised | None:
    if not {"conv_first.weight", "upconv1.weight", "body.0.conv1.weight", "conv_hr.weight"} <= state.keys():
        return None
    channels = state["conv_first.weight"].shape[0]
    first = state["upconv1.weight"].shape[0] // channels
    arguments = {
        "in_channels": state["conv_first.weight"].shape[1],
        "out_channels": state["conv_last.weight"].shape[0],
        "channels": channels,
        "blocks": len(_numbers(state, r"body\.(\d+)\.")),
        "scale": 4 if "upconv2.weight" in state else 3 if first == 9 else 2,
    }
    return Recognised(
        family="MSRResNet", network="msrresnet", arguments=arguments, state=state,
        descriptor=_enlargement(arguments, scale=arguments["scale"], halo=2 * arguments["blocks"] + 3),
    )  # fmt: skip


def _rrdb(state: State) -> Recognised | None:
    """RRDBNet by its three sets of names: BasicSR's, ESRGAN's, and ESRGAN's first, a nested `model.N`."""
    family = "RRDBNet"
    if "model.0.weight" in state and any(".RDB1." in key for key in state):
        state, family = _from_nested_names(state), "RRDBNet (ESRGAN's first names)"
    elif "trunk_conv.weight" in state:
        state, family = _from_trunk_names(state), "RRDBNet (ESRGAN's names)"
    if not {"conv_first.weight", "conv_body.weight", "body.0.rdb1.conv1.weight"} <= state.keys():
        return None
    out_channels, packed = state["conv_last.weight"].shape[0], state["conv_first.weight"].shape[1]
    unshuffle = {1: 1, 4: 2, 16: 4}.get(packed // out_channels, 1)
    arguments = {
        "in_channels": packed // unshuffle**2,
        "out_channels": out_channels,
        "channels": state["conv_first.weight"].shape[0],
        "growth": state["body.0.rdb1.conv1.weight"].shape[0],
        "blocks": len(_numbers(state, r"body\.(\d+)\.")),
        "ups": len(_numbers(state, r"conv_up(\d)\.")),
        "unshuffle": unshuffle,
    }
    scale = 2 ** arguments["ups"] // unshuffle
    # Its receptive field's radius is finite, some 350 px: exact tiles would be nearly all halo, so tiles are blended.
    return Recognised(
        family=family, network="rrdb", arguments=arguments, state=state,
        descriptor=_enlargement(arguments, scale=scale, halo=None, multiple=unshuffle),
    )  # fmt: skip


def _from_trunk_names(state: State) -> State:
    names = {"RRDB_trunk.": "body.", "trunk_conv.": "conv_body.", "upconv": "conv_up", "HRconv.": "conv_hr."}
    return _renamed(state, lambda key: _replaced(key, names).replace(".RDB", ".rdb"))


def _from_nested_names(state: State) -> State:
    """`model.1.sub.{i}.RDB{k}.conv{j}.0`; after the trunk `model.3`, `model.6`… for each enlargement, then two more."""
    blocks = _numbers(state, r"model\.1\.sub\.(\d+)\.")
    tail = _numbers(state, r"model\.(\d+)\.(?:weight|bias)$")[1:]
    names = {"model.0.": "conv_first.", f"model.1.sub.{blocks[-1]}.": "conv_body."}
    names |= {f"model.{place}.": f"conv_up{number}." for number, place in enumerate(tail[:-2], 1)}
    names |= {f"model.{tail[-2]}.": "conv_hr.", f"model.{tail[-1]}.": "conv_last.", "model.1.sub.": "body."}
    return _renamed(state, lambda key: re.sub(r"\.RDB(\d)\.conv(\d)\.0\.", r".rdb\1.conv\2.", _replaced(key, names)))


def _renamed(state: State, rename: Callable[[str], str]) -> State:
    return {rename(key): tensor for key, tensor in state.items()}


def _replaced(key: str, names: Mapping[str, str]) -> str:
    """A key with the first of the prefixes that it has replaced."""
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)


def _srvgg(state: State) -> Recognised | None:
    """A flat `body.N`. An activation with weights is a PReLU; one without is taken for a ReLU: files don't tell."""
    if "body.0.weight" not in state or any(not key.startswith("body.") for key in state):
        return None
    prelu = state.get("body.1.weight", torch.empty(0, 0)).dim() == 1
    last = max(_numbers(state, r"body\.(\d+)\."))
    channels, in_channels = state["body.0.weight"].shape[:2]
    scale = round((state[f"body.{last}.weight"].shape[0] / in_channels) ** 0.5)
    arguments = {
        "in_channels": in_channels,
        "out_channels": in_channels,
        "channels": channels,
        "convolutions": last // 2 - 1,
        "scale": scale,
        "activation": "prelu" if prelu else "relu",
    }
    return Recognised(
        family="SRVGGNetCompact", network="srvgg", arguments=arguments, state=state,
        descriptor=_enlargement(arguments, scale=scale, halo=arguments["convolutions"] + 2),
    )  # fmt: skip


def _enlargement(arguments: Mapping[str, Any], *, scale: int, halo: int | None, multiple: int = 1) -> Descriptor:
    return Descriptor(
        task="upscale" if scale > 1 else "translate", in_channels=arguments["in_channels"],
        out_channels=arguments["out_channels"], scale=scale, halo_px=halo, size_multiple=multiple,
        min_size_px=multiple,
    )  # fmt: skip


def _transform_net(state: State) -> Recognised | None:
    if not {"conv1.conv2d.weight", "deconv3.conv2d.weight", "res5.conv2.conv2d.weight"} <= state.keys():
        return None
    return Recognised(
        family="fast neural style's transform network", network="transform_net", arguments={},
        state=_without_statistics(state),
        descriptor=Descriptor(task="translate", size_multiple=4, min_size_px=16, value_range=(0.0, 255.0)),
    )  # fmt: skip


def _retinaface(state: State) -> Recognised | None:
    """Pytorch_Retinaface's files; the classifier that its backbones were trained with may still be in them."""
    if "ssh1.conv3X3.0.weight" not in state:
        return None
    backbone = "mobilenet0.25" if "body.stage1.0.0.weight" in state else "resnet50"
    return Recognised(
        family=f"RetinaFace ({backbone})", network="retinaface", arguments={"backbone": backbone},
        state={key: tensor for key, tensor in state.items() if not key.startswith("body.fc.")},
        descriptor=Descriptor(task="detect", size_multiple=32, min_size_px=32, value_range=(0.0, 255.0)),
    )  # fmt: skip


RECOGNISERS = (_resnet_generator, _unet, _msrresnet, _rrdb, _srvgg, _transform_net, _retinaface)
