"""Paints a whole house front as a camera might see it: every part in its material, then shadows and daylight."""

import numpy as np

from recast.jobs.samples.facade_layout import CLASS_NUMBERS, UNITS, Array, Front, box, label_map, paste
from recast.jobs.samples.facade_materials import PAINTERS, PALETTES, Spot

OVERSAMPLING = 2
"""A picture is painted this much larger, then averaged down: its edges are smooth."""
CORNERS = list(np.ndindex(OVERSAMPLING, OVERSAMPLING))

RELIEF = {
    "sky": -9.0,
    "chimney": -1.0,
    "window": -1.2,
    "door": -1.2,
    "shop": -1.2,
    "roof": -0.5,
    "molding": 0.6,
    "blind": 0.7,
    "pillar": 1.0,
    "sign": 1.2,
    "balcony": 1.6,
    "sill": 2.0,
    "cornice": 2.4,
    "awning": 3.5,
}
"""How far a class stands out of the wall, in units; those not named are flush with it."""
SHADOW = 0.42
"""How much light a full shadow takes."""
GRAIN = 1.5
"""Standard deviation of the camera's noise, in levels of 255."""


def photograph(front: Front, size_px: int, random: np.random.Generator) -> Array:
    """A picture of the front: uint8 [size_px, size_px, 3]. `random` decides the exposure and the grain only."""
    canvas_px = OVERSAMPLING * size_px
    picture = _painted(front, canvas_px) * _daylight(label_map(front, canvas_px))[..., None]
    picture = np.mean([picture[i::OVERSAMPLING, j::OVERSAMPLING] for i, j in CORNERS], axis=0)
    picture *= random.normal(1, 0.012)
    picture += GRAIN * random.standard_normal((size_px, size_px, 1), dtype=np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _painted(front: Front, canvas_px: int) -> Array:
    palette = PALETTES[front.material]
    picture = np.zeros((canvas_px, canvas_px, 3), dtype=np.float32)
    centres = (np.arange(canvas_px, dtype=np.float32) + 0.5) * (UNITS / canvas_px)
    for part in front.parts:
        rows, columns = box(part, canvas_px)
        at = Spot(centres[rows, None], centres[None, columns], part)
        there = picture[rows, columns]
        paste(there, PAINTERS[part.kind](at, palette, there), part, at.y, at.x)
    return picture


def _daylight(classes: Array) -> Array:
    """How bright each pixel is lit: the sun stands at the upper left, and what stands out casts a shadow."""
    size_px = len(classes)
    relief = np.array([RELIEF.get(kind, 0.0) for kind in CLASS_NUMBERS], dtype=np.float32)[classes]
    unit_px = size_px / UNITS
    reach = max(1, round(3.5 * unit_px))
    shadow = np.zeros_like(relief)
    for step in range(1, reach + 1):
        right = round(0.6 * step)
        higher = relief[:-step, : size_px - right] - relief[step:, right:] > 0.9 * step / unit_px
        np.maximum(shadow[step:, right:], higher, out=shadow[step:, right:])
    open_sky = classes == CLASS_NUMBERS["sky"]
    down = np.linspace(1.07, 0.88, size_px, dtype=np.float32)[:, None]
    across = np.linspace(1.03, 0.96, size_px, dtype=np.float32)[None, :]
    return np.where(open_sky, 1.0, down * across * (1 - SHADOW * shadow))
