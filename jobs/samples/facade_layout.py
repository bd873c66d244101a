"""What stands where on an invented house front: its parts, back to front, and the label map that they make."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

UNITS = 128
"""A front is laid out on a square of this many units, whatever its size in pixels."""

LABELS: dict[str, tuple[int, int, int]] = {
    "sky": (0, 0, 170),
    "brick": (0, 0, 255),
    "plaster": (70, 50, 255),
    "stone": (130, 120, 255),
    "window": (0, 125, 255),
    "door": (0, 200, 225),
    "cornice": (0, 255, 255),
    "sill": (85, 255, 170),
    "balcony": (170, 255, 85),
    "blind": (255, 255, 0),
    "molding": (255, 170, 0),
    "pillar": (255, 85, 0),
    "shop": (170, 0, 0),
    "awning": (255, 0, 60),
    "sign": (255, 0, 170),
    "roof": (110, 0, 130),
    "chimney": (170, 70, 90),
    "pavement": (70, 70, 70),
    "tree": (0, 130, 50),
}
"""Each class of a label map and its flat colour, in the manner of the CMP facades. Their order is the class number."""

CLASS_NUMBERS = {kind: number for number, kind in enumerate(LABELS)}
MATERIALS = ("brick", "plaster", "stone")

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = Literal["box", "arch", "mansard", "crown"]


@dataclass(frozen=True, slots=True)
class Part:
    """One thing on a front: its class and the box it fills, in units from the upper left corner."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float
    shape: Shape = "box"
    """`arch` rounds the upper edge, `mansard` slants the sides, `crown` is an ellipse."""

    def covers(self, y: Array, x: Array) -> Array:
        """Which points, given in units, belong to the part's shape; they are known to lie in its box."""
        if self.shape == "box":
            return np.ones(np.broadcast_shapes(y.shape, x.shape), dtype=bool)
        half_width = (self.right - self.left) / 2
        across = np.abs(x - (self.left + self.right) / 2) / half_width
        if self.shape == "mansard":
            slant = 0.45 * (self.bottom - self.top)
            return across * half_width <= half_width - slant * (self.bottom - y) / (self.bottom - self.top)
        if self.shape == "crown":
            half_height = (self.bottom - self.top) / 2
            return across**2 + ((y - self.top - half_height) / half_height) ** 2 <= 1
        rise = min(half_width, 0.35 * (self.bottom - self.top))
        return y >= self.top + rise * (1 - np.sqrt(np.clip(1 - across**2, 0, 1)))


@dataclass(frozen=True, slots=True)
class Front:
    """A house front: what it is built of and its parts, those behind first."""

    material: str
    parts: tuple[Part, ...]


def label_map(front: Front, size_px: int) -> Array:
    """The class number of every pixel: uint8 [size_px, size_px]."""
    centres = (np.arange(size_px, dtype=np.float32) + 0.5) * (UNITS / size_px)
    classes = np.zeros((size_px, size_px), dtype=np.uint8)
    for part in front.parts:
        rows, columns = box(part, size_px)
        y, x = centres[rows, None], centres[None, columns]
        paste(classes[rows, columns], CLASS_NUMBERS[part.kind], part, y, x)
    return classes


def paste(there: Array, what: Array | int, part: Part, y: Array, x: Array) -> None:
    """Cover the pixels of a part's box that belong to its shape."""
    if part.shape == "box":
        there[:] = what
    else:
        covered = part.covers(y, x)
        there[covered] = what[covered] if isinstance(what, np.ndarray) else what


def box(part: Part, size_px: int) -> tuple[slice, slice]:
    """The rows and columns of the pixels whose centres lie in a part's box."""
    scale = size_px / UNITS
    top, bottom, left, right = (
        min(max(round(edge * scale), 0), size_px) for edge in (part.top, part.bottom, part.left, part.right)
    )
    return slice(top, bottom), slice(left, right)


def invent(random: np.random.Generator) -> Front:
    """A new house front; the same state of `random` gives the same one."""
    material = MATERIALS[int(random.integers(len(MATERIALS)))]
    left = int(random.choice([0, 0, 4, 8]))
    right = UNITS - left
    eaves = int(random.integers(20, 33))
    ground = int(random.integers(86, 95))
    street = int(random.integers(118, 122))
    bays = int(random.integers(3, 6))
    edges = [round(left + 5 + (right - left - 10) * bay / bays) for bay in range(bays + 1)]
    parts = [Part("sky", 0, 0, UNITS, UNITS), *_roof(random, left, right, eaves, edges)]
    parts.append(Part(material, left, eaves, right, street))
    parts += _upper_floors(random, material, edges, eaves + 4, ground)
    parts += [Part("cornice", left, eaves, right, eaves + 4), Part("cornice", left, ground, right, ground + 2)]
    if material == "stone" or random.random() < 0.3:
        parts += [Part("pillar", x, eaves + 4, x + 5, ground) for x in (left, right - 5)]
    parts += (
        _shop(edges, ground + 2, street) if random.random() < 0.45 else _entrance(random, edges, ground + 2, street)
    )
    parts.append(Part("pavement", 0, street, UNITS, UNITS))
    if random.random() < 0.35:
        parts += _tree(random, street)
    return Front(material, tuple(parts))


def _roof(random: np.random.Generator, left: int, right: int, eaves: int, edges: list[int]) -> list[Part]:
    """A mansard roof with dormers, or a plain one; chimneys stand behind it."""
    top = eaves - int(random.integers(12, 16))
    parts = []
    for x in (left + 14, right - 22):
        if random.random() < 0.6:
            parts.append(Part("chimney", x, top - 6, x + 8, eaves))
    parts.append(Part("roof", left, top, right, eaves, "mansard" if random.random() < 0.75 else "box"))
    if eaves - top >= 13:
        for first, last in list(pairwise(edges))[:: 2 if len(edges) % 2 == 0 else 1]:
            middle = (first + last) // 2
            parts.append(Part("molding", middle - 5, eaves - 11, middle + 5, eaves, "arch"))
            parts.append(Part("window", middle - 3, eaves - 8, middle + 3, eaves, "arch"))
    return parts


def _upper_floors(random: np.random.Generator, material: str, edges: list[int], top: int, bottom: int) -> list[Part]:
    floors = 2 if bottom - top < 60 or random.random() < 0.5 else 3
    levels = [round(top + (bottom - top) * floor / floors) for floor in range(floors + 1)]
    shape: Shape = "arch" if random.random() < 0.35 else "box"
    blinds = random.random() < {"brick": 0.35, "plaster": 0.7, "stone": 0.15}[material]
    strings = random.random() < 0.5
    balcony_floor = int(random.integers(floors)) if random.random() < 0.6 else -1
    width = int(edges[1] - edges[0]) * float(random.uniform(0.42, 0.56))
    height = (levels[1] - levels[0]) * float(random.uniform(0.56, 0.68))
    parts = []
    for floor, (above, below) in enumerate(pairwise(levels)):
        if strings and floor:
            parts.append(Part("cornice", edges[0] - 5, above - 1, edges[-1] + 5, above + 1))
        for bay, (first, last) in enumerate(pairwise(edges)):
            middle, foot = (first + last) // 2, below - 6
            half = round(width / 2)
            window = Part("window", middle - half, round(foot - height), middle + half, foot, shape)
            parts += _window(window, blinds)
            if floor == balcony_floor and (len(edges) % 2 or bay % 2 == 0):
                parts.append(Part("balcony", middle - half - 3, foot - 7, middle + half + 3, foot + 3))
    return parts


def _window(window: Part, blinds: bool) -> list[Part]:
    """A window with what belongs to it: surround, sill and, on some houses, blinds."""
    left, top, right, bottom = window.left, window.top, window.right, window.bottom
    parts = [Part("molding", left - 2, top - 2, right + 2, bottom, window.shape)]
    if blinds:
        leaf = max(3, (right - left) // 3)
        parts += [Part("blind", x, top, x + leaf, bottom) for x in (left - 1 - leaf, right + 1)]
    return [*parts, window, Part("sill", left - 3, bottom, right + 3, bottom + 2)]


def _shop(edges: list[int], top: int, street: int) -> list[Part]:
    left, right = edges[0] - 1, edges[-1] + 1
    parts = [Part("shop", left, top + 6, right, street), Part("sign", left, top + 1, right, top + 7)]
    door = (edges[len(edges) // 2 - 1] + edges[len(edges) // 2]) // 2
    parts.append(Part("door", door - 6, top + 8, door + 6, street))
    parts += [Part("awning", left, top + 7, door - 8, top + 14), Part("awning", door + 8, top + 7, right, top + 14)]
    return parts


def _entrance(random: np.random.Generator, edges: list[int], top: int, street: int) -> list[Part]:
    """A ground floor with a door in one bay and windows in the others."""
    door_bay = int(random.integers(len(edges) - 1))
    parts = []
    for bay, (first, last) in enumerate(pairwise(edges)):
        middle, half = (first + last) // 2, round(0.27 * (last - first))
        if bay == door_bay:
            parts.append(Part("molding", middle - 8, top + 2, middle + 8, street, "arch"))
            parts.append(Part("door", middle - 6, top + 4, middle + 6, street, "arch"))
        else:
            parts += _window(Part("window", middle - half, top + 5, middle + half, street - 6), blinds=False)
    return parts


def _tree(random: np.random.Generator, street: int) -> list[Part]:
    middle = int(random.choice([12, 116])) + int(random.integers(-4, 5))
    crown = int(random.integers(11, 15))
    centre = street - int(random.integers(18, 24))
    return [
        Part("tree", middle - 1, centre, middle + 1, street + 2),
        Part("tree", middle - crown, centre - crown, middle + crown, centre + crown, "crown"),
    ]
