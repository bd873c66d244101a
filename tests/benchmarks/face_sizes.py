"""Faces of 8 to 3,000 px in images of 0.1 to 50 megapixels: `python -m tests.benchmarks.face_sizes [PHOTOGRAPH…]`.

Each face is an enlarged or reduced photograph with film grain, laid into another photograph; it must be covered by what
is replaced, or its image held. Prints a table: for each size of face and image `found`, `held` or `PUBLISHED`.
"""

import sys
from collections.abc import Iterator

import cv2
import numpy as np
import skimage.data
from PIL import Image

from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.regions.centerface import CenterFace
from recast.pipeline.regions.region import Region
from recast.pipeline.sources.inputs import Input

HEIGHTS_PX = (8, 10, 12, 14, 20, 32, 64, 128, 256, 400, 600, 800, 1000, 1200, 1600, 2000, 2400, 2800, 3000)
MEGAPIXELS = (0.1, 0.5, 1, 4, 12, 24, 50)
COVERED = 0.9
"""Share of the face's ellipse that must be replaced."""


def face_of(photograph: np.ndarray, detector: CenterFace) -> Region:
    """The best face of a photograph."""
    return max(detector([photograph])[0], key=lambda region: region.score)


def scene(
    photograph: np.ndarray, face: Region, height_px: int, pixels: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 [H, W, 3] of so many pixels with the face at that height somewhere, and grain -> it and the face's
    box. The face comes with what is around it, as far as it fits."""
    rng, factor = np.random.default_rng(seed), height_px / face.height
    high = max(round((pixels * 3 / 4) ** 0.5), 1)
    wide = round(pixels / high)
    ground = cv2.resize(skimage.data.coffee(), (wide, high), interpolation=cv2.INTER_CUBIC)
    scaled, offset = _portrait(photograph, face, factor, (wide, high))
    top, left = (
        int(rng.integers(0, extent - side + 1)) for extent, side in zip((high, wide), scaled.shape[:2], strict=True)
    )
    ground[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    box = np.array(face.box) * factor - np.tile(offset, 2) + (left, top, left, top)
    return grained(ground, seed), box


def _portrait(
    photograph: np.ndarray, face: Region, factor: float, most: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The photograph around the face, scaled, and where its corner lies in the scaled photograph."""
    centre = np.array([face.box[0] + face.box[2], face.box[1] + face.box[3]]) / 2
    reach = np.minimum(np.array(most) / factor / 2, 1.5 * face.height)
    low = np.maximum(centre - reach, 0).astype(int)
    right, bottom = np.minimum(centre + reach, photograph.shape[1::-1]).astype(int)
    part = photograph[low[1] : bottom, low[0] : right]
    side = np.minimum(np.maximum(np.array(part.shape[1::-1]) * factor, 1), most).astype(int)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(part, (int(side[0]), int(side[1])), interpolation=how), low * factor


def grained(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Film grain: normal(0, 9) at half size and normal(0, 6)."""
    cv2.setRNGSeed(seed)
    height, width = image.shape[:2]
    coarse, fine = np.empty((height // 2 + 1, width // 2 + 1, 3), np.float32), np.empty(image.shape, np.float32)
    cv2.randn(coarse, 0, 9)
    cv2.randn(fine, 0, 6)
    fine += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    fine += image
    return fine.clip(0, 255).astype(np.uint8)


def outcome(anonymizer: Anonymizer, image: np.ndarray, box: np.ndarray) -> str:
    """`found`, `held`, or `PUBLISHED` with the share of the face that is covered."""
    item = Input(key="a.png", source="", fingerprint="", container=b"")
    (result,) = anonymizer([Picture(pixels=image)], [item])
    if isinstance(result, InputError):
        return "held"
    height, width = image.shape[:2]
    left, top, right, bottom = box
    x, y = np.meshgrid(np.linspace(left, right, 60), np.linspace(top, bottom, 60))
    within = ((x - (left + right) / 2) / (right - left)) ** 2 + ((y - (top + bottom) / 2) / (bottom - top)) ** 2 <= 0.25
    within &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    black = ~result.picture.pixels[y[within].astype(int), x[within].astype(int)].any(-1)
    return "found" if black.mean() >= COVERED else f"PUBLISHED {black.mean():.2f}"


def sweep(photograph: np.ndarray) -> Iterator[tuple[int, float, str]]:
    """Every height and number of megapixels in which the face fits, and what came of it."""
    anonymizer, face = Anonymizer(detectors=[CenterFace(threads=1)]), None
    face = face_of(photograph, CenterFace(threads=1))
    for height_px in HEIGHTS_PX:
        for megapixels in MEGAPIXELS:
            if height_px <= (megapixels * 1e6 * 3 / 4) ** 0.5:
                yield (
                    height_px,
                    megapixels,
                    outcome(anonymizer, *scene(photograph, face, height_px, megapixels * 1e6, height_px)),
                )


def main() -> None:
    photographs = [np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[1:]] or [skimage.data.astronaut()]
    for photograph in photographs:
        for height_px, megapixels, came in sweep(photograph):
            print(f"{height_px:5} px {megapixels:5g} MP  {came}", flush=True)


if __name__ == "__main__":
    main()
