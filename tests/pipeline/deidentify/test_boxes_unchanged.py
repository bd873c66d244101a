"""What is done to regions without masks is what was done before there were masks, bit for bit."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.deidentify.replacement.classical import covered_share, grown, replaced
from recast.pipeline.deidentify.settings import Policy, Replacement
from recast.pipeline.images.pictures import Picture
from recast.pipeline.regions.region import Region, union
from tests.pipeline.bulk.test_generator import item
from tests.pipeline.deidentify.test_anonymizer import Told

REPLACED = {
    "auto": "12257334d8d8904b",
    "ellipse": "ba0d807994d388ad",
    "box": "d7e1f3ae0af0277a",
}
"""The first digits of the sha256 of 20 images with black regions, by shape, as of the commit before masks."""


def boxes(seed, detector="told"):
    """Regions of two kinds, some over the image's edges, some in others, as fractions of pixels."""
    rng = np.random.default_rng(seed)
    low, sides = rng.uniform(-10, 80, (9, 2)), rng.uniform(1, 40, (9, 2))
    return [
        Region(
            kind="face" if n % 3 else "plate",
            box=(float(x), float(y), float(x + w), float(y + h)),
            score=float(score),
            detector=detector if n % 2 else "boxes",
        )
        for n, ((x, y), (w, h), score) in enumerate(zip(low, sides, rng.uniform(0.2, 1, 9), strict=True))
    ]


def digest(*parts):
    """Of arrays and of what JSON can write."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part).encode())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("shape", REPLACED)
def test_solid_regions_are_those_of_before(shape):
    """Pixels, sealed boxes and regions, through the whole of a de-identification."""
    parts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        depth = np.uint16 if seed % 3 == 0 else np.uint8
        pixels = rng.integers(0, np.iinfo(depth).max + 1, (70, 90, 3 if seed % 2 else 1)).astype(depth)
        alpha = rng.integers(0, 256, (70, 90)).astype(np.uint8) if seed % 5 == 0 else None
        job = Anonymizer(
            detectors=[Told(boxes(seed, "a")), Told(boxes(seed + 1, "b"))],
            replacement=Replacement(shape=shape, margin=0.3 * (seed % 4)),
            policy=Policy(doubt=0.2),
            keep_originals=True,
        )
        (made,) = job([Picture(pixels=pixels, alpha=alpha)], [item("a.png")])
        sealed = [(list(box), original) for box, original in made.originals]
        known = [{name: r[name] for name in ("kind", "box", "score", "action")} for r in made.regions]
        parts += [made.picture.pixels, known, *(part for pair in sealed for part in pair)]
        parts += [] if made.picture.alpha is None else [made.picture.alpha]
    assert digest(*parts) == REPLACED[shape]


def test_unions_and_shares_are_those_of_before():
    joined = [union([boxes(seed, "a"), boxes(seed + 1, "b")]) for seed in range(30)]
    told = [[(r.kind, r.box, r.score, r.detector) for r in found] for found in joined]
    shares = [
        covered_share(found[-1], [(other, Replacement(margin=margin)) for other in found[:-1]], (70, 90))
        for found in joined
        for margin in (0.0, 0.3, 2.0)
    ]
    assert (digest(told), digest(shares)) == ("fbc12e81d54812ab", "e2b3b480fabc6b72")


@pytest.mark.parametrize("method", ["pixelate", "blur"])
def test_pixelated_and_blurred_boxes_are_made_of_their_own_pixels(method):
    """As OpenCV makes them of the grown box, at any strength."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    for region in boxes(3):
        for strength in (1.0, 2.5):
            how = Replacement(method=method, shape="box", strength=strength)
            left, top, right, bottom = grown(region, how.margin, pixels.shape)
            if left >= right or top >= bottom:
                continue
            inside, expected = pixels[top:bottom, left:right], pixels.copy()
            height, width = inside.shape[:2]
            side = strength * max(height, width) / 4
            if method == "pixelate":
                few = cv2.resize(inside, (max(1, round(width / side)), max(1, round(height / side))),
                                 interpolation=cv2.INTER_AREA)  # fmt: skip
                new = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
            else:
                new = cv2.GaussianBlur(inside, (0, 0), side, borderType=cv2.BORDER_REPLICATE)
            expected[top:bottom, left:right] = new.reshape(inside.shape)
            result, changed = replaced(pixels, [region], how)
            assert changed == [(left, top, right, bottom)]
            assert np.array_equal(result, expected)
