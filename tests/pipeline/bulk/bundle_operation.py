"""Small bundles for tests, made on the spot."""

from pathlib import Path

import torch

from recast.models.bundle import write
from recast.models.description import Bundle
from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.looks import Category, Looks
from recast.models.networks import NETWORKS
from tests.models.test_recipes import built


def upscaler(folder: Path, *, scale: int = 2, seed: int = 0, channels: int = 8, blocks: int = 1) -> str:
    """A tiny x2 or x4 upscaler with random weights. Returns its folder."""
    torch.manual_seed(seed)
    arguments = {"scale": scale, "channels": channels, "blocks": blocks}
    network = NETWORKS["edsr"](**arguments)
    write(
        Bundle(
            name=f"tiny x{scale} seed {seed}",
            recipe="srresnet",
            network="edsr",
            arguments=arguments,
            descriptor=Descriptor(task="upscale", scale=scale, halo_px=network.halo_px),
        ),
        network,
        folder,
    )
    return str(folder)


def begun(recipe: str, folder: Path, **overrides) -> str:
    """The bundle of a recipe's smallest preset, as its network is before training. Returns its folder."""
    torch.manual_seed(0)
    made = built(recipe, **overrides)
    exported, network = made.exported, made.networks[made.exported.name]
    facts = {"network": exported.network, "arguments": exported.arguments, "descriptor": exported.descriptor}
    write(Bundle(name="begun", recipe=recipe, **facts), network, folder)
    return str(folder)


HALO_PX = 19
"""The receptive field's radius of what `posed` makes."""


def posed(folder: Path, *further: NetworkInput, first: NetworkInput | None = None, channels: int = 4) -> str:
    """A tiny translator of an image (or `first`) and what else, all of it the channels of its one tensor. Returns its
    folder.
    """
    torch.manual_seed(0)
    arguments = {"in_channels": channels, "channels": 4, "growth": 2, "blocks": 1, "ups": 0}
    inputs = (first or NetworkInput(name="image", kind="image"), *further)
    descriptor = Descriptor(task="translate", inputs=inputs, halo_px=HALO_PX)
    described = {"name": "posed", "recipe": "none", "network": "rrdb", "arguments": arguments}
    write(Bundle(**described, descriptor=descriptor), NETWORKS["rrdb"](**arguments), folder)
    return str(folder)


def drawing(folder: Path, *inputs: NetworkInput, size_px: int = 16) -> str:
    """A tiny translator of numbers alone into an image of `size_px`. Returns its folder."""
    torch.manual_seed(0)
    arguments = {"size_px": size_px, "latent": sum(each.numbers for each in inputs), "ngf": 4, "norm": "none"}
    descriptor = Descriptor(task="translate", inputs=inputs, value_range=(-1.0, 1.0))
    described = {"name": "drawing", "recipe": "none", "network": "dcgan_generator", "arguments": arguments}
    network = NETWORKS["dcgan_generator"](**arguments)
    for parameter in network.parameters():
        parameter.data *= 20  # fresh weights draw but grey
    write(Bundle(**described, descriptor=descriptor), network, folder)
    return str(folder)


def segmenter(folder: Path, *names: str, points: int = 0, **looks) -> str:
    """An untrained network that finds many things everywhere, with masks that fill them. Returns its folder."""
    torch.manual_seed(1)
    small = {"layers": 10, "width": 4, "channels": 8, "hidden": 24}
    arguments = {**small, "categories": len(names), "masks": not points, "points": points}
    network = NETWORKS["mask_rcnn"](**arguments)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight.mul_(8)
        network.rpn.head.cls_logits.weight.mul_(8)
        if not points:
            network.roi_heads.mask_predictor.mask_fcn_logits.bias.fill_(1)
    categories = tuple(Category(id=n, name=name) for n, name in enumerate(names, 3))
    joined = {"points": tuple(f"p{n}" for n in range(points)), "limbs": ((0, 1),) if points else ()}
    descriptor = Descriptor(
        task="annotate", looks=Looks(categories=categories, size_px=96, score_floor=0.3, **joined, **looks)
    )
    facts = {"name": "drawn", "recipe": "none", "network": "mask_rcnn", "arguments": arguments}
    write(Bundle(**facts, descriptor=descriptor), network, folder)
    return str(folder)
