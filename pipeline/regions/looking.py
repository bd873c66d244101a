"""Any network that looks, as a detector: an image is fitted in as its bundle says, and what is found becomes regions.

Each image is looked at by itself, so that its regions are the same alone and in an archive.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models.description import BundleError
from recast.models.perception.findings import Findings, Looking
from recast.models.pixels import to_range
from recast.models.sizes import rounded_up
from recast.pipeline.bundles import Packed
from recast.pipeline.input_errors import InputError, raised_by_network
from recast.pipeline.regions import masks
from recast.pipeline.regions.detectors import DetectorSettings, NotFiniteError, finite, name_of
from recast.pipeline.regions.region import FACE, Region

INSIDE = 0.5
"""From this value on a pixel of a mask is inside."""


class LookingDetector:
    """What a bundle's network finds."""

    def __init__(self, packed: Packed, device: str, least_score: float | None = None) -> None:
        """Raises BundleError for a bundle of a network that does not look. `least_score`: see `DetectorSettings`."""
        bundle, network = packed.unpack()
        looks = bundle.descriptor.looks
        if looks is None or not isinstance(network, Looking):
            raise BundleError(f"{packed.url} finds nothing in images: it is a bundle for {bundle.descriptor.task}")
        self._looks, self._descriptor = looks, bundle.descriptor
        self._network, self._device = network.to(device), device
        self._floor = looks.score_floor if least_score is None else min(looks.score_floor, least_score)
        self.name = name_of(bundle)
        self.kinds = tuple(category.name for category in looks.categories)

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Regions in images uint8 [H, W, 3] in RGB, best first."""
        return [self._found(image) for image in images]

    @torch.inference_mode()
    def _found(self, image: np.ndarray) -> list[Region]:
        height, width = image.shape[:2]
        given = self._looks.given_size(height, width)
        x = self._fitted(image, given)
        try:
            with raised_by_network():
                (found,) = self._network.found(x, self._floor)
        except InputError as fault:
            if isinstance(fault.__cause__, FloatingPointError):
                raise NotFiniteError(f"{self.name}: {fault.sentence}") from fault
            raise
        scale = np.array([width / given[1], height / given[0]], np.float32)
        boxes, scores = found.boxes.cpu().numpy() * np.tile(scale, 2), found.scores.cpu().numpy()
        finite(self.name, boxes, scores)
        boxes = boxes.clip(0, [width, height, width, height])
        points = _points(found, scale)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return [self._region(found, n, boxes, scores, points, (height, width)) for n in np.flatnonzero(whole).tolist()]

    def _fitted(self, image: np.ndarray, given: tuple[int, int]) -> Tensor:
        """The image at the size that the network is given it, padded at the right and at the bottom: [1, 3, h, w]."""
        x = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))[None].to(self._device)
        x = to_range(x, *self._descriptor.value_range)
        if given != image.shape[:2]:
            x = F.interpolate(x, size=given, mode="bilinear", align_corners=False, antialias=True)
        if self._looks.channel_order == "bgr":
            x = x.flip(1)
        multiple, least = self._descriptor.size_multiple, self._descriptor.min_size_px
        down, right = (rounded_up(max(side, least), multiple) - side for side in given)
        return F.pad(x, (0, right, 0, down), value=self._descriptor.value_range[0])

    def _region(
        self, found: Findings, n: int, boxes: np.ndarray, scores: np.ndarray, points: np.ndarray | None,
        size: tuple[int, int],
    ) -> Region:  # fmt: skip
        category = self._looks.categories[int(found.categories[n])]
        left, top, right, bottom = map(float, boxes[n])
        return Region(
            kind=category.name,
            box=(left, top, right, bottom),
            score=float(scores[n]),
            detector=self.name,
            category=category.id,
            fills_box=category.name != FACE,
            mask=None if found.masks is None else pasted(found.masks[n], boxes[n], *size),
            points=() if points is None else tuple(map(float, points[n].ravel())),
        )


def _points(found: Findings, scale: np.ndarray) -> np.ndarray | None:
    """Keypoints [n, K, 3] in pixels of the image."""
    if found.points is None:
        return None
    points = found.points.cpu().numpy().copy()
    points[..., :2] *= scale
    return points


def pasted(mask: Tensor, box: np.ndarray, height: int, width: int) -> str:
    """The RLE in an image of that size of a mask [m, m] in [0, 1] over a box of it.

    Pixels are looked up at their middles, between four values of the mask. Memory grows with the box alone.
    """
    left, top = np.floor(box[:2]).astype(int).tolist()
    right, bottom = np.ceil(box[2:]).astype(int).tolist()
    y = (torch.arange(top, bottom) + 0.5 - float(box[1])) / float(box[3] - box[1])
    x = (torch.arange(left, right) + 0.5 - float(box[0])) / float(box[2] - box[0])
    grid = torch.stack([x[None].expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None] * 2 - 1
    values = F.grid_sample(mask[None, None].float().cpu(), grid.float(), align_corners=False)[0, 0]
    return masks.placed((values >= INSIDE).numpy(), left, top, height, width)


def build(packed: Packed, settings: DetectorSettings) -> LookingDetector:
    """The detector that a bundle holds. Raises BundleError."""
    return LookingDetector(packed, settings.device, settings.least_score)
