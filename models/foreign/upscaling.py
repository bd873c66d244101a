"""Upscalers of other programs: MSRResNet, RRDBNet and SRVGGNetCompact of BasicSR and Real-ESRGAN."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from recast.models.descriptor import Descriptor
from recast.models.foreign.states import Recognised, State, numbers, renamed, replaced


def msrresnet(state: State) -> Recognised | None:
    if not {"conv_first.weight", "upconv1.weight", "body.0.conv1.weight", "conv_hr.weight"} <= state.keys():
        return None
    channels = state["conv_first.weight"].shape[0]
    first = state["upconv1.weight"].shape[0] // channels
    arguments = {
        "in_channels": state["conv_first.weight"].shape[1],
        "out_channels": state["conv_last.weight"].shape[0],
        "channels": channels,
        "blocks": len(numbers(state, r"body\.(\d+)\.")),
        "scale": 4 if "upconv2.weight" in state else 3 if first == 9 else 2,
    }
    return Recognised(
        family="MSRResNet", network="msrresnet", arguments=arguments, state=state,
        descriptor=_enlargement(arguments, scale=arguments["scale"], halo=2 * arguments["blocks"] + 3),
    )  # fmt: skip


def rrdb(state: State) -> Recognised | None:
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
        "blocks": len(numbers(state, r"body\.(\d+)\.")),
        "ups": len(numbers(state, r"conv_up(\d)\.")),
        "unshuffle": unshuffle,
    }
    scale = 2 ** arguments["ups"] // unshuffle
    # Its receptive field's radius is finite, some 350 px: exact tiles would be nearly all halo, so tiles are blended.
    return Recognised(
        family=family, network="rrdb", arguments=arguments, state=state,
        descriptor=_enlargement(arguments, scale=scale, halo=None, multiple=unshuffle),
        note=_left_open(arguments, packed),
    )  # fmt: skip


def _left_open(arguments: Mapping[str, Any], packed: int) -> str:
    if arguments["unshuffle"] == 1 or arguments["out_channels"] != 1:
        return ""
    return (
        f"taken for a network from 1 channel to 1 that unshuffles pixels; one from {packed} channels to 1 would have "
        f"the same shapes"
    )


def _from_trunk_names(state: State) -> State:
    names = {"RRDB_trunk.": "body.", "trunk_conv.": "conv_body.", "upconv": "conv_up", "HRconv.": "conv_hr."}
    return renamed(state, lambda key: replaced(key, names).replace(".RDB", ".rdb"))


def _from_nested_names(state: State) -> State:
    """`model.1.sub.{i}.RDB{k}.conv{j}.0`; after the trunk `model.3`, `model.6`… for each enlargement, then two more."""
    blocks = numbers(state, r"model\.1\.sub\.(\d+)\.")
    tail = numbers(state, r"model\.(\d+)\.(?:weight|bias)$")[1:]
    names = {"model.0.": "conv_first.", f"model.1.sub.{blocks[-1]}.": "conv_body."}
    names |= {f"model.{place}.": f"conv_up{number}." for number, place in enumerate(tail[:-2], 1)}
    names |= {f"model.{tail[-2]}.": "conv_hr.", f"model.{tail[-1]}.": "conv_last.", "model.1.sub.": "body."}
    return renamed(state, lambda key: re.sub(r"\.RDB(\d)\.conv(\d)\.0\.", r".rdb\1.conv\2.", replaced(key, names)))


def srvgg(state: State) -> Recognised | None:
    """A flat `body.N`. An activation with weights is a PReLU; one without is taken for a ReLU: files don't tell."""
    if "body.0.weight" not in state or any(not key.startswith("body.") for key in state):
        return None
    prelu = state.get("body.1.weight", torch.empty(0, 0)).dim() == 1
    last = max(numbers(state, r"body\.(\d+)\."))
    if last > len(state):
        raise ValueError(f"its layers are numbered up to {last}")
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
