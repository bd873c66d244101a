"""Translators of other programs: the ResNet and U-Net of pytorch-CycleGAN-and-pix2pix, fast neural style's network."""

from collections.abc import Mapping
from typing import Any

from recast.models.descriptor import Descriptor
from recast.models.foreign.states import SIGNED, Recognised, State, norm_of, numbers, without_statistics

DEEPEST_UNET = 16
"""More levels than that halve any image to nothing."""


def resnet_generator(state: State) -> Recognised | None:
    """pytorch-CycleGAN-and-pix2pix's ResnetGenerator: a flat `model.N`; blocks from `model.10` on."""
    blocks = numbers(state, r"model\.(\d+)\.conv_block\.")
    if "model.1.weight" not in state or not blocks:
        return None
    # Dropout moves the second convolution of a block from place 5 to 6, where a normalisation is otherwise.
    dropout = any(tensor.dim() == 4 for key, tensor in state.items() if key.endswith(".conv_block.6.weight"))
    norm = norm_of(state, "model.2", "model.1")
    last = max(numbers(state, r"model\.(\d+)\.(?:weight|bias)$"))
    arguments = {
        "in_channels": state["model.1.weight"].shape[1],
        "out_channels": state[f"model.{last}.weight"].shape[0],
        "blocks": len(blocks),
        "ngf": state["model.1.weight"].shape[0],
        "norm": norm,
        "dropout": 0.5 if dropout else 0.0,
    }
    if norm == "instance":
        state = without_statistics(state)
    return Recognised(
        family=f"a ResNet generator of {len(blocks)} blocks", network="resnet_generator", arguments=arguments,
        state=state, descriptor=_translation(arguments, multiple=4, least=16),
    )  # fmt: skip


def unet(state: State) -> Recognised | None:
    """pytorch-CycleGAN-and-pix2pix's UnetGenerator: `model.model.1.model.3…`, a level for each halving."""
    if "model.model.0.weight" not in state:
        return None
    depth = max(key.count("model.") for key in state)
    if depth > DEEPEST_UNET:
        raise ValueError(f"it has {depth} levels")
    norm = norm_of(state, "model.model.1.model.2", "model.model.0")
    arguments = {
        "in_channels": state["model.model.0.weight"].shape[1],
        "out_channels": state["model.model.3.weight"].shape[1],
        "num_downs": depth - 1,
        "ngf": state["model.model.0.weight"].shape[0],
        "norm": norm,
        "dropout": 0.5,
    }
    if norm == "instance":
        state = without_statistics(state)
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


def transform_net(state: State) -> Recognised | None:
    if not {"conv1.conv2d.weight", "deconv3.conv2d.weight", "res5.conv2.conv2d.weight"} <= state.keys():
        return None
    return Recognised(
        family="fast neural style's transform network", network="transform_net", arguments={},
        state=without_statistics(state),
        descriptor=Descriptor(task="translate", size_multiple=4, min_size_px=16, value_range=(0.0, 255.0)),
    )  # fmt: skip
