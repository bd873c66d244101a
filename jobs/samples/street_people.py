"""People of a drawn street: jointed figures whose 17 keypoints are COCO's."""

import math
from dataclasses import dataclass

import numpy as np

from recast.jobs.samples.street_canvas import Canvas, Colour

KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
SKIN = ((241, 204, 177), (222, 171, 127), (173, 120, 81), (112, 72, 48), (74, 47, 33))
HAIR = ((40, 28, 22), (92, 60, 36), (190, 150, 90), (120, 120, 124))
Joint = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """A person who stands at (x, y), `height` pixels tall; angles of limbs are in radians from straight down."""

    x: float
    y: float
    height: float
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    swings: tuple[float, ...]
    """Left upper arm, left forearm, right upper arm, right forearm, then the legs in the same order."""

    @classmethod
    def drawn(cls, random: np.random.Generator, x: float, y: float, height: float) -> "Figure":
        stride = float(random.uniform(-0.5, 0.5))
        bend, lift = (float(v) for v in random.uniform(0, 0.7, 2))
        top, trousers = ((int(r), int(g), int(b)) for r, g, b in random.integers(25, 235, (2, 3)))
        swings = (0.15 - stride, 0.15 - stride + bend, -0.15 + stride, -0.15 + stride - lift)
        legs = (stride * 0.7, stride * 0.7 - bend * 0.3, -stride * 0.7, -stride * 0.7 - lift * 0.3)
        skin, hair = SKIN[random.integers(len(SKIN))], HAIR[random.integers(len(HAIR))]
        return cls(x, y, height, skin, hair, top, trousers, swings + legs)

    def keypoints(self) -> dict[str, Joint]:
        """Places of COCO's keypoints by name, in pixels; the person faces the viewer, so left is at the right."""
        h, x, top = self.height, self.x, self.y - self.height
        places = {"nose": (x, top + 0.085 * h)}
        for side, sign in (("left", 1), ("right", -1)):
            first = 0 if side == "left" else 2
            places[f"{side}_eye"] = (x + sign * 0.02 * h, top + 0.065 * h)
            places[f"{side}_ear"] = (x + sign * 0.05 * h, top + 0.075 * h)
            shoulder = places[f"{side}_shoulder"] = (x + sign * 0.1 * h, top + 0.19 * h)
            elbow = places[f"{side}_elbow"] = _end(shoulder, self.swings[first], 0.16 * h)
            places[f"{side}_wrist"] = _end(elbow, self.swings[first + 1], 0.15 * h)
            hip = places[f"{side}_hip"] = (x + sign * 0.06 * h, top + 0.52 * h)
            knee = places[f"{side}_knee"] = _end(hip, self.swings[first + 4], 0.23 * h)
            places[f"{side}_ankle"] = _end(knee, self.swings[first + 5], 0.22 * h)
        return {name: places[name] for name in KEYPOINTS}


def draw_figure(canvas: Canvas, figure: Figure, thing: int) -> None:
    """Paint the person as thing number `thing`; parts 1 to 10: torso, head, and 4 limbs of 2 parts each."""
    at, h = figure.keypoints(), figure.height
    for n, side in enumerate(("left", "right")):
        hip, knee, ankle = at[f"{side}_hip"], at[f"{side}_knee"], at[f"{side}_ankle"]
        canvas.limb(hip, knee, 0.05 * h, figure.trousers, thing, 3 + 2 * n)
        canvas.limb(knee, ankle, 0.038 * h, figure.trousers, thing, 4 + 2 * n)
    torso = [at["left_shoulder"], at["right_shoulder"], at["right_hip"], at["left_hip"]]
    canvas.polygon(torso, figure.top, thing, 1)
    canvas.limb(at["left_hip"], at["right_hip"], 0.04 * h, figure.top, thing, 1)
    canvas.limb(at["left_shoulder"], at["right_shoulder"], 0.035 * h, figure.top, thing, 1)
    for n, side in enumerate(("left", "right")):
        shoulder, elbow, wrist = at[f"{side}_shoulder"], at[f"{side}_elbow"], at[f"{side}_wrist"]
        canvas.limb(shoulder, elbow, 0.033 * h, figure.top, thing, 7 + 2 * n)
        canvas.limb(elbow, wrist, 0.026 * h, figure.skin, thing, 8 + 2 * n)
    x, y = at["nose"]
    canvas.limb((x, y), (x, y + 0.09 * h), 0.024 * h, figure.skin, thing, 2)
    canvas.ellipse(x, y - 0.02 * h, 0.055 * h, 0.068 * h, figure.hair, thing, 2)
    canvas.ellipse(x, y, 0.046 * h, 0.06 * h, figure.skin, thing, 2)
    for side in ("left", "right"):
        canvas.ellipse(*at[f"{side}_eye"], 0.007 * h, 0.009 * h, (30, 24, 24), thing, 2)


def _end(start: Joint, angle: float, length: float) -> Joint:
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)
