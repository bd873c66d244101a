"""Training examples that are one face each: its square, the mask where it is, its landmarks."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from recast.models.faces import FACE_COLUMNS, MIRRORED, Window, fading, pose, resized, seen
from recast.models.recipes.ranges import Features, Pixels, Within
from recast.models.recipes.recipe import RecipeConfig

SHIFT = 0.06
"""How far windows are moved and resized at random, in shares of the face's longer side: detectors aren't exact."""


@dataclass(frozen=True, kw_only=True)
class FaceConfig(RecipeConfig):
    """Settings of recipes that paint faces."""

    size_px: Pixels = 128
    """Side of the square that the networks see; 4 times a power of 2."""
    context: Annotated[float, Within(1, 8)] = 1.6
    """That square's side, in longer sides of the face's box."""
    margin: Annotated[float, Within(0, 4)] = 0.3
    """How much wider and higher than its box the ellipse is that a new face takes."""
    width: Features = 32
    """Features of the networks' first level."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context <= 1 + self.margin:
            raise ValueError(f"context is {self.context}; it must be more than 1 + margin, {1 + self.margin}")


def face_example(
    image: np.ndarray, face: np.ndarray, rng: np.random.Generator, config: FaceConfig, *, augment: bool
) -> dict[str, Tensor]:
    """One face of an image uint8 [H, W, 3], its row of the table float32 [14].

    Returns:
        `face` uint8 [3, S, S], the square with the face; `surroundings` uint8 [3, S, S], without it;
        `mask` uint8 [1, S, S], 255 where it is; `fade` uint8 [1, S, S], how much of a new face shows;
        `landmarks` float32 [10].
    """
    assert face.shape == (FACE_COLUMNS,)
    box, landmarks = face[:4].astype(float), face[4:]
    if augment:
        reach = max(box[2] - box[0], box[3] - box[1])
        box = box + np.tile(rng.uniform(-SHIFT, SHIFT, 2), 2) * reach / 2
        box = box + np.array([-1, -1, 1, 1]) * rng.uniform(-SHIFT, SHIFT) * reach / 2
    window = Window.around(box, config.context)
    square = window.cut(image)
    inside = window.inside(box, config.margin)
    surroundings, mask = seen(square, inside <= 1, config.size_px)
    fade = resized((fading(inside, config.margin) * 255).astype(np.uint8), config.size_px)
    whole, points = resized(square, config.size_px), pose(box, landmarks, window).reshape(-1, 2)
    if augment and rng.random() < 0.5:
        whole, surroundings, mask, fade = (image[:, ::-1] for image in (whole, surroundings, mask, fade))
        points = (points * (-1, 1) + (1, 0))[list(MIRRORED)]
    return {
        "face": _planes(whole),
        "surroundings": _planes(surroundings),
        "mask": _planes(mask[..., None]),
        "fade": _planes(fade[..., None]),
        "landmarks": torch.from_numpy(points.ravel().astype(np.float32)),
    }


def _planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
