"""What a network takes, from a picture and what goes with it: pixels, label maps and numbers, and their tensors."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.pixels import LUMA
from recast.pipeline.bulk.values import to_values
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError

WITH_ALPHA = (2, 4)
"""Numbers of channels of which the last is alpha."""

Given = tuple[np.ndarray, ...]
"""An array for each input of a network, in its order: uint [H, W, C] for images and labels, float32 [N] for numbers."""


def seed_of(key: str) -> int:
    """What is random for an image follows from its key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


NO_PICTURE = Picture(pixels=np.empty((0, 0, 3), np.uint8))
"""Stands where a network takes no image, for what goes with one."""


def values_of(picture: Picture, descriptor: Descriptor, key: str) -> Given:
    """What a network takes: the picture, what goes with it, and noise, which the key decides but where SOURCE gives it.

    Raises:
        InputError: `unfit-input`: a class that the network doesn't know.
    """
    left = iter(picture.further)

    def values(place: int, each: NetworkInput) -> np.ndarray:
        if each.kind == "noise" and place:
            return _noise(each, key)
        return _values(picture if place == descriptor.picture else next(left), each, picture)

    return tuple(values(place, each) for place, each in enumerate(descriptor.takes))


def _values(given: Picture | np.ndarray, each: NetworkInput, picture: Picture) -> np.ndarray:
    if isinstance(given, np.ndarray):
        return _shares(given, each, picture) if each.kind == "points" else given
    if each.kind == "labels" and (greatest := int(given.pixels.max(initial=0))) >= each.channels:
        raise InputError(
            "unfit-input", f"{each.name} has the class {greatest:,}, and the network knows 0 to {each.channels - 1:,}"
        )
    return _pixels(given, each.channels) if each.kind == "image" else given.pixels


def _pixels(picture: Picture, channels: int) -> np.ndarray:
    """uint [H, W, C]: a picture's pixels, with its alpha (or an opaque one) where the network takes it."""
    if channels not in WITH_ALPHA:
        return picture.pixels
    top = np.iinfo(picture.pixels.dtype).max
    alpha = np.full(picture.pixels.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
    scaled = np.rint(alpha * (top / np.iinfo(alpha.dtype).max)).astype(picture.pixels.dtype)
    return np.concatenate([picture.pixels, scaled[..., None]], axis=2)


def _shares(points: np.ndarray, each: NetworkInput, picture: Picture) -> np.ndarray:
    """x and y in pixels of an image -> the same in the network's range: the least at its left and top edge, the
    greatest at its right and bottom edge. Where there is no image, they are shares of its sides already."""
    low, high = each.value_range
    sides = np.tile(np.array([picture.width or 1, picture.height or 1], np.float32), each.channels)
    return low + points / sides * np.float32(high - low)


def _noise(each: NetworkInput, key: str) -> np.ndarray:
    """Numbers of the standard normal distribution, cut off at the ends of the input's range."""
    rng = torch.Generator().manual_seed(seed_of(f"{each.name} of {key}"))
    return torch.randn(each.channels, generator=rng).clamp_(*each.value_range).numpy()


def tensor_of(values: np.ndarray, each: NetworkInput, device: torch.device, buffer: np.ndarray | None = None) -> Tensor:
    """An input's array as the network takes it: float32 [C, H, W] in its range, or [N].

    Args:
        buffer: float32 of the array's shape to use on a CPU.
    """
    if values.ndim == 1:
        return torch.from_numpy(np.asarray(values, np.float32)).to(device)
    if each.kind == "labels":
        return _one_hot(values, each, device)
    return with_channels(to_values(values, *each.value_range, device, buffer), each.channels)


def _one_hot(classes: np.ndarray, each: NetworkInput, device: torch.device) -> Tensor:
    """uint8 [H, W, 1] -> float32 [classes, H, W]: the range's greatest value in a pixel's class, else its least."""
    low, high = each.value_range
    height, width, _ = classes.shape
    planes = torch.full((each.channels, height, width), low, device=device)
    return planes.scatter_(0, torch.from_numpy(classes).to(device).permute(2, 0, 1).long(), high)


def with_channels(image: Tensor, channels: int) -> Tensor:
    """[C, H, W] with `channels` channels: grey repeated, or colour reduced to luma; alpha, last of 2 or 4, as it is."""
    if image.shape[0] == channels:
        return image
    if channels in WITH_ALPHA:
        return torch.cat([with_channels(image[:-1], channels - 1), image[-1:]])
    if channels == 3:
        return image.expand(3, -1, -1)
    luma = torch.tensor(LUMA, device=image.device).view(3, 1, 1)
    return (image * luma).sum(dim=0, keepdim=True)
