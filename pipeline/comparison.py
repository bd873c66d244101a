"""Results beside their targets: PSNR, SSIM, LPIPS and the Frechet distance over all images of one name."""

import math
from typing import Any

import numpy as np
import torch

from recast.models.metrics.fid import Moments, frechet_distance
from recast.models.metrics.lpips import LPIPS
from recast.models.metrics.psnr import psnr_db
from recast.models.metrics.ssim import ssim
from recast.pipeline.images.contents import read
from recast.pipeline.images.decode import decode
from recast.pipeline.images.inputs import Input
from recast.pipeline.images.pictures import as_rgb8
from recast.pipeline.images.sources import Source, inventory
from recast.pipeline.storage import StorageError

MAX_PIXELS, MAX_BYTES = 1 << 28, 1 << 30


def compare(results: str, targets: str, lpips: LPIPS | None = None) -> dict[str, Any]:
    """Means over the images that both have, and how many those are; an image's ending doesn't matter.

    Raises:
        StorageError: a place can't be read, or they have no name in common.
    """
    ours = {_stem(item): item for item in inventory(Source(urls=(results,)))}
    sums: dict[str, list[float]] = {"psnr_db": [], "ssim": [], "lpips": []}
    moments: tuple[Moments, Moments] | None = None
    compared, other_sizes, equal = 0, 0, 0
    for theirs in inventory(Source(urls=(targets,))):
        item = ours.get(_stem(theirs))
        if item is None:
            continue
        image, target = _rgb(item), _rgb(theirs)
        if image.shape != target.shape:
            other_sizes += 1
            continue
        compared += 1
        decibels = psnr_db(image, target)
        equal += math.isinf(decibels)
        sums["psnr_db"] += [decibels] if math.isfinite(decibels) else []
        if min(image.shape[:2]) > 2 * 5:
            sums["ssim"].append(ssim(image, target))
        if lpips is not None:
            pair = [torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None] for pixels in (image, target)]
            sums["lpips"].append(float(lpips(*pair)))
            features = [lpips.features(pixels) for pixels in pair]
            moments = moments or (Moments(features[0].shape[1]), Moments(features[0].shape[1]))
            for of, values in zip(moments, features, strict=True):
                of.add(values)
    if not compared:
        raise StorageError(f"{results} and {targets} have no image of one name and size in common")
    facts: dict[str, Any] = {"images": compared, "equal": equal, "of_another_size": other_sizes}
    facts |= {name: float(np.mean(values)) if values else None for name, values in sums.items()}
    facts["frechet"] = frechet_distance(*moments) if moments and compared > 1 else None
    return facts


def _stem(item: Input) -> str:
    folder, _, name = item.key.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _rgb(item: Input) -> np.ndarray:
    return as_rgb8(decode(read(item, MAX_BYTES), MAX_PIXELS).pixels)
