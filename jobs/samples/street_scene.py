"""A drawn street: sky, buildings, a road, cars with plates and people, the farthest first."""

from dataclasses import dataclass

import numpy as np

from recast.jobs.samples.street_canvas import Canvas, Colour
from recast.jobs.samples.street_people import Figure, Joint, draw_figure

CATEGORIES = ("person", "car", "plate")
STUFF = ("sky", "building", "pavement", "road")
"""What the ground is; `Scene.parts` has their numbers, from 1, where no thing is."""
SKY, BUILDING, PAVEMENT, ROAD = range(1, len(STUFF) + 1)
GLASS, TYRE, PLATE, INK = (120, 150, 170), (28, 28, 30), (238, 238, 228), (30, 34, 60)
HORIZON = (0.42, 0.52)
"""Where the pavement meets the buildings, as a share of the picture's height."""


@dataclass(frozen=True)
class Thing:
    """One thing of a scene; its pixels are those of `Scene.ids` with its number, and with `holds`, its plate's."""

    number: int
    category: str
    keypoints: tuple[Joint, ...] = ()
    holds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 [S, S, 3], and which thing (uint16 [S, S]) and part of it, or of the ground (uint8 [S, S]), each
    pixel shows."""

    pixels: np.ndarray
    ids: np.ndarray
    parts: np.ndarray
    things: tuple[Thing, ...]

    def mask(self, thing: Thing) -> np.ndarray:
        """Its visible pixels, bool [S, S]."""
        return np.isin(self.ids, (thing.number, *thing.holds))


def draw_scene(random: np.random.Generator, side: int) -> Scene:
    """A street with one to three cars and two to six people."""
    canvas = Canvas(side)
    horizon = float(random.uniform(*HORIZON)) * side
    _backdrop(canvas, random, horizon)
    cars, people = int(random.integers(1, 4)), int(random.integers(2, 7))
    depths = random.uniform(0.15, 1, cars + people)
    things: list[Thing] = []
    for which in np.argsort(depths, kind="stable"):
        depth, x = float(depths[which]), float(random.uniform(0.05, 0.95)) * side
        ground = horizon + (side - horizon) * (0.1 + 0.85 * depth)
        height = side * (0.12 + 0.4 * depth)
        number = len(things) + 1
        if which < cars:
            _draw_car(canvas, random, x, ground, height * 0.8, number)
            things += [Thing(number, "car", holds=(number + 1,)), Thing(number + 1, "plate")]
        else:
            figure = Figure.drawn(random, x, ground, height)
            draw_figure(canvas, figure, number)
            things.append(Thing(number, "person", tuple(figure.keypoints().values())))
    noisy = canvas.picture() + random.normal(0, 2.5, (side, side, 1))
    return Scene(noisy.clip(0, 255).astype(np.uint8), canvas.ids, canvas.parts, tuple(things))


def _backdrop(canvas: Canvas, random: np.random.Generator, horizon: float) -> None:
    side, sky = canvas.side, random.integers((90, 140, 190), (170, 205, 250))
    for n in range(32):
        shade = _tint(sky + n * 2)
        canvas.rectangle((0, horizon * n / 32, side, horizon * (n + 1) / 32), shade, part=SKY)
    left = 0.0
    while left < side:
        width = float(random.uniform(0.14, 0.32)) * side
        _building(canvas, random, (left, float(random.uniform(0.05, 0.6)) * horizon, left + width, horizon))
        left += width
    road = int(random.integers(70, 105))
    canvas.rectangle((0, horizon, side, side), (road + 70, road + 66, road + 60), part=PAVEMENT)
    kerb = horizon + 0.12 * (side - horizon)
    canvas.rectangle((0, kerb, side, side), (road, road, road + 4), part=ROAD)
    canvas.rectangle((0, kerb, side, kerb + 0.008 * side), (road + 100,) * 3, part=PAVEMENT)
    middle = horizon + 0.55 * (side - horizon)
    for start in np.arange(float(random.uniform(-0.2, 0)), 1, 0.2) * side:
        canvas.rectangle((start, middle, start + 0.1 * side, middle + 0.014 * side), (225, 222, 205), part=ROAD)


def _building(canvas: Canvas, random: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    wall, (left, top, right, bottom) = random.integers(70, 205, 3), box
    canvas.rectangle(box, _tint(wall), part=BUILDING)
    canvas.rectangle((left, top, right, top + 0.012 * canvas.side), _tint(wall - 35), part=BUILDING)
    columns, step = int(random.integers(2, 5)), 0.085 * canvas.side
    across = (right - left) / columns
    for y in np.arange(top + 0.4 * step, bottom - step, step):
        for x in left + across * np.arange(columns):
            lit = random.random() < 0.2
            glass = (240, 215, 140) if lit else _tint(wall * 0.3 + 40)
            canvas.rectangle((x + 0.25 * across, y, x + 0.75 * across, y + 0.6 * step), glass, part=BUILDING)


def _draw_car(canvas: Canvas, random: np.random.Generator, x: float, y: float, height: float, thing: int) -> None:
    """A car seen from behind, `height` pixels tall on the road at (x, y); its plate is thing `thing + 1`."""
    h, half, paint = height, 0.62 * height, random.integers(30, 230, 3)
    colour, dark = _tint(paint), _tint(paint * 0.7)
    for side in (-1, 1):
        wheel = x + side * 0.72 * half
        canvas.rectangle((wheel - 0.12 * h, y - 0.25 * h, wheel + 0.12 * h, y), TYRE, thing)
    roof, waist = y - h, y - 0.58 * h
    cabin = [(x - 0.62 * half, roof), (x + 0.62 * half, roof), (x + 0.9 * half, waist), (x - 0.9 * half, waist)]
    canvas.polygon(cabin, colour, thing)
    canvas.polygon([(x + (u - x) * 0.86, v + (0.05 * h if v == roof else 0)) for u, v in cabin], GLASS, thing)
    canvas.rectangle((x - half, waist, x + half, y - 0.13 * h), colour, thing)
    canvas.rectangle((x - half, y - 0.24 * h, x + half, y - 0.13 * h), dark, thing)
    for side in (-1, 1):
        canvas.ellipse(x + side * 0.83 * half, y - 0.47 * h, 0.08 * h, 0.06 * h, (200, 40, 36), thing)
    plate = (x - 0.2 * h, y - 0.4 * h, x + 0.2 * h, y - 0.29 * h)
    canvas.rectangle(plate, PLATE, thing + 1)
    for n in range(int(random.integers(4, 7))):
        start = plate[0] + (0.03 + n * 0.058) * h
        tall = float(random.uniform(0.03, 0.06)) * h
        canvas.rectangle((start, plate[3] - 0.02 * h - tall, start + 0.03 * h, plate[3] - 0.02 * h), INK, thing + 1)


def _tint(colour: np.ndarray) -> Colour:
    red, green, blue = (int(c) for c in np.clip(colour, 0, 255))
    return red, green, blue
