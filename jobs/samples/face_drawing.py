"""One drawn face: a person's features, seen from a side, in a mood, in a light."""

from dataclasses import dataclass

import cv2
import numpy as np

CANVAS_PX = 192
"""A face is drawn this large, then brought to its size in the picture."""
UNIT = CANVAS_PX / 3.0
"""Canvas pixels to half a head's height."""
SHIFT = 4
"""Fractional bits of OpenCV's coordinates."""

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Person:
    """What stays the same from picture to picture. Lengths are in halves of the head's height."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    width: float
    jaw: float
    """Width of the chin."""
    hairline: float
    eye_distance: float
    eye_width: float
    eye_height: float
    brow_height: float
    brow_tilt: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_width: float
    mouth_height: float
    mouth_place: float
    beard: float
    """0: none; 1: as dark as the hair."""
    mole: tuple[float, float]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Person":
        u = random.uniform
        tone = u(0.4, 1.0)
        skin = (255 * tone * u(0.9, 1), 205 * tone * u(0.85, 1), 175 * tone * u(0.75, 1))
        return cls(
            skin=skin,
            hair=tuple(u(10, 235, 3) * np.array([1, u(0.6, 1), u(0.4, 1)])),
            iris=tuple(u(20, 200, 3)),
            lips=(skin[0] * u(0.75, 1), skin[1] * u(0.35, 0.8), skin[2] * u(0.4, 0.85)),
            width=u(0.66, 0.92), jaw=u(0.3, 0.75), hairline=u(-0.75, -0.4),
            eye_distance=u(0.28, 0.42), eye_width=u(0.11, 0.19), eye_height=u(0.05, 0.11),
            brow_height=u(0.14, 0.26), brow_tilt=u(-0.08, 0.08), brow_weight=u(0.03, 0.09),
            nose_length=u(0.25, 0.42), nose_width=u(0.08, 0.2),
            mouth_width=u(0.2, 0.4), mouth_height=u(0.04, 0.11), mouth_place=u(0.46, 0.6),
            beard=max(0.0, u(-0.8, 0.8)), mole=(u(-0.5, 0.5), u(0.05, 0.5)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class View:
    """What differs from picture to picture."""

    x: float
    y: float
    """The middle of the head, in pixels."""
    height_px: float
    roll: float
    """Degrees."""
    yaw: float
    """-1 to 1: how far it is turned, in halves of what hides an eye."""
    pitch: float
    smile: float
    """-1 to 1."""
    open: float
    """0 to 1: the mouth."""
    light: tuple[float, float]
    """Direction, and how much it differs from side to side."""
    brightness: float

    @classmethod
    def drawn(
        cls, random: np.random.Generator, side: int, height: tuple[float, float], *, middle: bool = False
    ) -> "View":
        u = random.uniform
        tall = side * u(*height)
        low, high = tall / 2 + 1, side - tall / 2 - 1
        if middle:
            low, high = side * 0.45, side * 0.55
        return cls(
            x=u(low, high), y=u(low, high), height_px=tall, roll=u(-18, 18), yaw=u(-0.6, 0.6), pitch=u(-0.08, 0.08),
            smile=u(-0.6, 1), open=max(0.0, u(-1, 1)), light=(u(-np.pi, np.pi), u(0, 0.3)), brightness=u(0.75, 1.1),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Face:
    """Where a face came to lie."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom of the head, hair and all."""
    landmarks: tuple[float, ...]


def draw_face(pixels: np.ndarray, person: Person, view: View, random: np.random.Generator) -> Face:
    """Draw a head on shoulders into a picture, uint8 [H, W, 3]."""
    colours, opaque, landmarks = _head(person, view, random)
    scale = view.height_px / 2 / UNIT
    cos, sin = np.cos(np.deg2rad(view.roll)) * scale, np.sin(np.deg2rad(view.roll)) * scale
    centre = CANVAS_PX / 2
    place = np.array(
        [[cos, -sin, view.x - cos * centre + sin * centre], [sin, cos, view.y - sin * centre - cos * centre]]
    )
    _shoulders(pixels, view, random)
    size = (pixels.shape[1], pixels.shape[0])
    smooth = cv2.GaussianBlur(np.dstack([colours * opaque[..., None], opaque]), (0, 0), max(0.01, 0.4 / scale))
    layer = cv2.warpAffine(smooth, place, size, flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:]
    pixels[:] = (pixels * (1 - alpha) + layer[..., :3]).round().clip(0, 255).astype(np.uint8)
    rows, columns = np.nonzero(alpha[..., 0] > 0.5)
    _occlude(pixels, view, random)
    points = landmarks @ place[:, :2].T + place[:, 2]
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
    return Face(box=box, landmarks=tuple(float(v) for v in points.ravel()))


def _head(person: Person, view: View, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours float32 [S, S, 3], opacity [S, S], and the five landmarks [5, 2], all on the canvas."""
    p, turn, nod = person, view.yaw * 0.22, view.pitch
    canvas = np.zeros((CANVAS_PX, CANVAS_PX, 3), np.float32)
    opaque = np.zeros((CANVAS_PX, CANVAS_PX), np.float32)
    hair = _oval(p.width * 1.04, 1.0, p.width * 0.98, -0.02)
    skin = _oval(p.width * 0.97, 0.86, p.jaw, 0.08)
    skin[:, 1] = np.maximum(skin[:, 1], p.hairline + 0.25 * np.abs(skin[:, 0] - turn) / p.width)
    upper = hair[hair[:, 1] < 0.35]
    for outline, colour in ((upper, p.hair), (skin, p.skin)):
        _fill(canvas, outline, colour)
        _fill(opaque, outline, 1.0)
    if p.beard > 0.1:
        chin = skin[skin[:, 1] > 0.42]
        _fill(canvas, chin, _mix(p.skin, p.hair, 0.8 * p.beard))
    squeeze = (1 - 0.25 * max(0.0, view.yaw), 1 - 0.25 * max(0.0, -view.yaw))
    eyes = [(turn - p.eye_distance * squeeze[0], -0.12 + nod), (turn + p.eye_distance * squeeze[1], -0.12 + nod)]
    for side, (x, y) in zip((-1, 1), eyes, strict=True):
        _ellipse(canvas, (x, y), (p.eye_width, p.eye_height), (240, 240, 240))
        _ellipse(canvas, (x + turn * 0.25, y), (p.eye_height * 0.95,) * 2, p.iris)
        _ellipse(canvas, (x + turn * 0.25, y), (p.eye_height * 0.45,) * 2, (10, 10, 10))
        inner, outer = x - side * p.eye_width * 1.2, x + side * p.eye_width * 1.3
        brow = y - p.brow_height
        _line(canvas, [(inner, brow), (outer, brow - p.brow_tilt)], _mix(p.hair, (0, 0, 0), 0.35), p.brow_weight)
    tip = (turn * 1.5, -0.12 + nod + p.nose_length)
    shade = _mix(p.skin, (0, 0, 0), 0.28)
    _line(canvas, [(turn, -0.05 + nod), tip], _mix(p.skin, (255, 255, 255), 0.18), 0.05)
    _line(canvas, [(tip[0] - p.nose_width, tip[1]), (tip[0] + p.nose_width, tip[1])], shade, 0.045)
    corners, mouth = _mouth(person, view, turn, nod)
    _fill(canvas, mouth, p.lips)
    if view.open > 0.15:
        inside = (mouth - mouth.mean(0)) * np.array([0.75, 0.5]) + mouth.mean(0)
        _fill(canvas, inside, (70, 15, 20))
    _ellipse(canvas, (p.mole[0] * p.width + turn, p.mole[1]), (0.03, 0.03), _mix(p.skin, (20, 10, 0), 0.6))
    landmarks = np.array([*eyes, tip, *corners])
    return _lit(canvas, view, random), opaque, landmarks * UNIT + CANVAS_PX / 2


def _mouth(person: Person, view: View, turn: float, nod: float) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Its corners, and its outline."""
    half, y = person.mouth_width * (1 + 0.15 * view.smile), person.mouth_place + nod
    corners = [(turn * 1.1 - half, y - 0.06 * view.smile), (turn * 1.1 + half, y - 0.06 * view.smile)]
    t = np.linspace(-1, 1, 15)
    bend = (1 - t**2) * 0.06 * view.smile
    thick = (1 - t**2) * (person.mouth_height + 0.12 * view.open)
    x = turn * 1.1 + t * half
    lower, upper = np.stack([x, y + bend + thick], 1), np.stack([x, y + bend - thick * 0.6], 1)
    lift = (t**2 * -0.06 * view.smile)[:, None] * np.array([0, 1])
    return corners, np.concatenate([lower + lift, (upper + lift)[::-1]])


def _lit(canvas: np.ndarray, view: View, random: np.random.Generator) -> np.ndarray:
    angle, contrast = view.light
    v, u = (np.mgrid[:CANVAS_PX, :CANVAS_PX].astype(np.float32) - CANVAS_PX / 2) / UNIT
    side = 1 + contrast * (u * np.cos(angle) + v * np.sin(angle)) - 0.12 * (u**2 + v**2)
    tint = np.array(random.uniform(0.93, 1.07, 3), np.float32)
    return (canvas * (view.brightness * side)[..., None] * tint).clip(0, 255).astype(np.float32)


def _shoulders(pixels: np.ndarray, view: View, random: np.random.Generator) -> None:
    """Clothes up to the chin: of another colour in every picture, for they say nothing of who wears them."""
    colour = tuple(int(c) for c in random.integers(0, 256, 3))
    half = view.height_px / 2
    axes = tuple(round(v * 16) for v in (half * random.uniform(1.2, 1.7), half * random.uniform(1.1, 1.4)))
    below = (round(view.x * 16), round((view.y + half * 1.9) * 16))
    neck = (round(view.x * 16), round((view.y + half * 0.9) * 16))
    cv2.ellipse(pixels, below, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)
    cv2.ellipse(pixels, neck, (round(half * 8), round(half * 9)), 0, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)


def _occlude(pixels: np.ndarray, view: View, random: np.random.Generator) -> None:
    """Now and then something stands before a part of the face."""
    if random.random() > 0.12:
        return
    colour = tuple(int(c) for c in random.integers(0, 256, 3))
    angle, half = random.uniform(0, 2 * np.pi), view.height_px / 2
    x, y = view.x + half * np.cos(angle), view.y + half * np.sin(angle)
    reach = (round(half * random.uniform(0.2, 0.4)), round(half * random.uniform(0.2, 0.5)))
    cv2.ellipse(pixels, (round(x), round(y)), reach, float(np.rad2deg(angle)), 0, 360, colour, -1, cv2.LINE_AA)


def _oval(width: float, height: float, chin: float, down: float) -> np.ndarray:
    """An outline [N, 2], narrower at its lower end."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    narrow = np.where(y > 0, 1 + (min(1.0, chin / width) - 1) * y**2, 1.0)
    return np.stack([x * width * narrow, y * height + down], 1)


def _points(outline: np.ndarray) -> np.ndarray:
    return np.round((outline * UNIT + CANVAS_PX / 2) * 2**SHIFT).astype(np.int32)


def _fill(canvas: np.ndarray, outline: np.ndarray, colour: Colour | float) -> None:
    cv2.fillPoly(canvas, [_points(outline)], colour, cv2.LINE_8, SHIFT)


def _ellipse(canvas: np.ndarray, centre: tuple[float, float], axes: tuple[float, ...], colour: Colour) -> None:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    _fill(canvas, np.stack([centre[0] + axes[0] * np.cos(angle), centre[1] + axes[1] * np.sin(angle)], 1), colour)


def _line(canvas: np.ndarray, ends: list[tuple[float, float]], colour: Colour, weight: float) -> None:
    start, end = np.array(ends)
    along = end - start
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * weight / 2
    _fill(canvas, np.stack([start + across, end + across, end - across, start - across]), colour)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    return tuple(a + (b - a) * share for a, b in zip(one, other, strict=True))  # type: ignore[return-value]  # of three
