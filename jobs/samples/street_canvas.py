"""A canvas that knows which thing each of its pixels shows, because what is painted later hides what was there."""

from dataclasses import dataclass, field

import cv2
import numpy as np

Points = list[tuple[float, float]]
Colour = tuple[int, int, int]
SUPERSAMPLING = 2
"""Pixels painted for one of the picture, along each side."""


@dataclass
class Canvas:
    """A square picture in painting, with the number of the thing and of its part at each pixel; 0 is the ground."""

    side: int
    pixels: np.ndarray = field(init=False)
    """uint8 [SUPERSAMPLING * side, SUPERSAMPLING * side, 3]."""
    ids: np.ndarray = field(init=False)
    """Number of the thing that is seen, uint16 [side, side]."""
    parts: np.ndarray = field(init=False)
    """Number of its part, uint8 [side, side]."""

    def __post_init__(self) -> None:
        large = self.side * SUPERSAMPLING
        self.pixels = np.zeros((large, large, 3), np.uint8)
        self.ids = np.zeros((self.side, self.side), np.uint16)
        self.parts = np.zeros((self.side, self.side), np.uint8)

    def polygon(self, points: Points, colour: Colour, thing: int = 0, part: int = 0) -> None:
        """Fill a convex polygon whose corners are given in pixels of the picture."""
        cv2.fillConvexPoly(self.pixels, _scaled(points, SUPERSAMPLING), colour)
        for plane, number in ((self.ids, thing), (self.parts, part)):
            cv2.fillConvexPoly(plane, _scaled(points, 1), number)

    def rectangle(self, box: tuple[float, float, float, float], colour: Colour, thing: int = 0, part: int = 0) -> None:
        """Fill a box: left, top, right, bottom."""
        left, top, right, bottom = box
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, thing, part)

    def ellipse(
        self, x: float, y: float, across: float, down: float, colour: Colour, thing: int = 0, part: int = 0
    ) -> None:
        """Fill an upright ellipse around (x, y), with half its width and half its height."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        edge = zip(x + across * np.cos(turn), y + down * np.sin(turn), strict=True)
        self.polygon([(float(u), float(v)) for u, v in edge], colour, thing, part)

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        radius: float,
        colour: Colour,
        thing: int = 0,
        part: int = 0,
    ) -> None:
        """Paint a capsule from one joint to another."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along)) or 1.0
        across = np.array([-along[1], along[0]]) / length * radius
        corners = [np.add(start, across), np.add(end, across), np.subtract(end, across), np.subtract(start, across)]
        self.polygon([(float(u), float(v)) for u, v in corners], colour, thing, part)
        for x, y in (start, end):
            self.ellipse(x, y, radius, radius, colour, thing, part)

    def picture(self) -> np.ndarray:
        """What was painted, uint8 [side, side, 3]."""
        return cv2.resize(self.pixels, (self.side, self.side), interpolation=cv2.INTER_AREA)


def _scaled(points: Points, scale: int) -> np.ndarray:
    """Corners as numbers of pixels, int32 [N, 2]: pixel n spans n to n + 1."""
    return np.floor(np.asarray(points) * scale).astype(np.int32)
