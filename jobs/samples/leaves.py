"""Drawn "dead leaves": opaque shapes of all sizes over one another, which share the statistics of photographs' edges.

Lee, Mumford and Huang 2001 ("Occlusion models for natural images"): shapes whose sizes follow a power law, each hiding
what lies under it, give scale-invariant images with natural statistics. Beside few photographs they keep a network for
enlargement from learning those by heart (Achddou et al. 2021, "Synthetic images as a regularity prior").
"""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from recast.jobs.samples.photos import photograph_files
from recast.pipeline import storage

Colour = tuple[int, int, int]

SUPERSAMPLING = 2
"""Shapes are drawn this much larger and reduced by averaging, for soft edges."""
SHAPES_PER_MEGAPIXEL = 7_400
SMALLEST_PX, LARGEST_PX = 3.0, 220.0
"""Radii of the shapes."""
PHOTOGRAPHS_PER_PALETTE = 3
BACKGROUND_SHARE = 0.05
"""The share of shapes that are drawn first and large, to leave no bare ground."""


def write_leaves(target: str, *, count: int, seed: int = 0, size_px: int = 1024) -> list[str]:
    """Draw images into a local folder or any fsspec URL as `leaves-00000.png`, …, in colours of the sample photographs.

    Raises:
        pipeline.samples.photos.PhotographsMissingError: scikit-image, which has the photographs, is not installed.
    """
    palettes = [_colours(file) for file in photograph_files("train")]
    fs, root = storage.filesystem(target)
    names = []
    with storage.faults_as_sentences(f"writing {target}"):
        for number in range(count):
            random = np.random.default_rng([seed, number])
            chosen = random.permutation(len(palettes))[:PHOTOGRAPHS_PER_PALETTE]
            palette = np.concatenate([palettes[n] for n in chosen])
            buffer = io.BytesIO()
            draw_leaves(random, palette, size_px).save(buffer, "PNG", compress_level=3)
            names.append(f"leaves-{number:05d}.png")
            storage.write_bytes(fs, storage.join(root, names[-1]), buffer.getvalue())
    return names


def draw_leaves(random: np.random.Generator, palette: np.ndarray, size_px: int) -> Image.Image:
    """One square image.

    Args:
        palette: uint8 [N, 3], the colours to draw in, each as likely as it is common.
    """
    side = size_px * SUPERSAMPLING
    canvas = Image.new("RGB", (side, side), _pick(random, palette))
    draw = ImageDraw.Draw(canvas)
    steepness = random.uniform(2.2, 3.0)
    shapes = int(SHAPES_PER_MEGAPIXEL * size_px**2 / 1e6)
    for number in range(shapes):
        if number < BACKGROUND_SHARE * shapes:
            radius = random.uniform(LARGEST_PX / 4, LARGEST_PX)
        else:
            radius = _power_law(random, steepness)
        centre = random.uniform(-50, side + 50, 2)
        _draw_shape(draw, random, centre, radius * SUPERSAMPLING, _pick(random, palette))
    drawn = canvas.resize((size_px, size_px), Image.Resampling.BOX)
    return _lit_and_textured(random, np.asarray(drawn, np.float32))


def _colours(file: Path) -> np.ndarray:
    with Image.open(file) as photograph:
        return np.asarray(photograph.convert("RGB")).reshape(-1, 3)


def _pick(random: np.random.Generator, palette: np.ndarray) -> Colour:
    red, green, blue = palette[random.integers(len(palette))].tolist()
    return red, green, blue


def _power_law(random: np.random.Generator, steepness: float) -> float:
    """A radius r with density proportional to r^-steepness, by the inverse of its distribution."""
    exponent, u = 1 - steepness, random.random()
    return float((LARGEST_PX**exponent * u + SMALLEST_PX**exponent * (1 - u)) ** (1 / exponent))


def _draw_shape(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, centre: np.ndarray, radius: float, colour: Colour
) -> None:
    (x, y), around = centre, (*(centre - radius), *(centre + radius))
    match random.integers(4):
        case 0:
            draw.ellipse(around, fill=colour)
        case 1:
            corners = random.integers(3, 8)
            angles, reach = np.sort(random.uniform(0, 2 * math.pi, corners)), radius * random.uniform(0.6, 1.2, corners)
            points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
            draw.polygon([tuple(point) for point in points], fill=colour)
        case 2:
            turn, half_width = random.uniform(0, 2 * math.pi), radius * random.uniform(0.05, 0.4)
            along = radius * np.array([math.cos(turn), math.sin(turn)])
            across = half_width * np.array([-math.sin(turn), math.cos(turn)])
            bar = (centre - along - across, centre + along - across, centre + along + across, centre - along + across)
            draw.polygon([tuple(point) for point in bar], fill=colour)
        case _:
            width = max(1, int(radius * random.uniform(0.02, 0.15)))
            start, end = random.uniform(0, 360, 2)
            draw.arc(around, start, end, fill=colour, width=width)


def _lit_and_textured(random: np.random.Generator, image: np.ndarray) -> Image.Image:
    """Light that changes smoothly over the image, and grain of several sizes in patches of it."""
    size_px = len(image)
    image = image * (1 + 0.12 * _noise(random, 8, size_px)[..., None])
    grain = sum(weight * _noise(random, size_px // px, size_px) for px, weight in ((2, 1.0), (4, 1.5), (8, 2.0)))
    patches = _noise(random, 6, size_px) > 0.3
    image = image + (random.uniform(0, 4) * grain * patches)[..., None]
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def _noise(random: np.random.Generator, cells: int, size_px: int) -> np.ndarray:
    """float32 [size_px, size_px]: normal values on a coarse grid, interpolated."""
    grid = random.normal(size=(max(1, cells), max(1, cells))).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size_px, size_px), Image.Resampling.BICUBIC))
