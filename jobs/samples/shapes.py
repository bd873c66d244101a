"""Drawn shapes in a folder for each class: data with labels, for cgan and classifier."""

import io
import math

import numpy as np
from PIL import Image, ImageDraw

from recast.pipeline import storage

CLASSES = ("cross", "disc", "ring", "square", "star", "stripes", "triangle")
SUPERSAMPLING = 4


def write_shapes(target: str, *, count: int, seed: int = 0, size_px: int = 64) -> dict[str, int]:
    """Draw `count` images in all, the same number of each class, as `<class>/00000.png`, …; returns counts by class."""
    fs, root = storage.filesystem(target)
    counts = dict.fromkeys(CLASSES, 0)
    with storage.faults_as_sentences(f"writing {target}"):
        for number in range(count):
            kind = CLASSES[number % len(CLASSES)]
            buffer = io.BytesIO()
            draw_shape(np.random.default_rng([seed, number]), kind, size_px).save(buffer, "PNG")
            storage.write_bytes(fs, storage.join(root, kind, f"{counts[kind]:05d}.png"), buffer.getvalue())
            counts[kind] += 1
    return counts


def draw_shape(random: np.random.Generator, kind: str, size_px: int) -> Image.Image:
    """One shape of random colour, size, place and angle, on a ground that shades off in another colour."""
    side = size_px * SUPERSAMPLING
    image = _ground(random, side)
    draw = ImageDraw.Draw(image)
    colour = tuple(int(c) for c in random.integers(0, 256, 3))
    radius = side * random.uniform(0.2, 0.34)
    x, y = random.uniform(radius, side - radius, 2)
    turn = random.uniform(0, 2 * math.pi)

    def corners(angles: list[float], radii: list[float]) -> list[tuple[float, float]]:
        return [(x + r * math.cos(turn + a), y + r * math.sin(turn + a)) for a, r in zip(angles, radii, strict=True)]

    match kind:
        case "disc":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        case "ring":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=int(radius * 0.35))
        case "square" | "triangle":
            n = 4 if kind == "square" else 3
            draw.polygon(corners([2 * math.pi * k / n for k in range(n)], [radius] * n), fill=colour)
        case "star":
            radii = [radius, radius * 0.42] * 5
            draw.polygon(corners([math.pi * k / 5 for k in range(10)], radii), fill=colour)
        case "cross":
            for a in (0, math.pi / 2):
                thin = [a - 0.25, a + 0.25, a + math.pi - 0.25, a + math.pi + 0.25]
                draw.polygon(corners(thin, [radius] * 4), fill=colour)
        case "stripes":
            for offset in (-0.66, 0.0, 0.66):
                ends = [(-1, offset - 0.16), (1, offset - 0.16), (1, offset + 0.16), (-1, offset + 0.16)]
                angles, radii = [math.atan2(v, u) for u, v in ends], [radius * math.hypot(u, v) for u, v in ends]
                draw.polygon(corners(angles, radii), fill=colour)
        case _:
            raise ValueError(f"there is no shape {kind!r}; there is {', '.join(CLASSES)}")
    return image.resize((size_px, size_px), Image.Resampling.BOX)


def _ground(random: np.random.Generator, side: int) -> Image.Image:
    one, other = random.integers(0, 256, (2, 3)).astype(np.float32)
    angle = random.uniform(0, 2 * math.pi)
    v, u = np.mgrid[:side, :side].astype(np.float32) / side
    share = np.clip(0.5 + (u - 0.5) * math.cos(angle) + (v - 0.5) * math.sin(angle), 0, 1)[..., None]
    return Image.fromarray((one + (other - one) * share * 0.6).astype(np.uint8))
