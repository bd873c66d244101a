"""How the materials of a house front look close up: brick, panes, iron, slate, cloth, leaves.

A painter gives the colours of one part's box from where it is. What looks like chance in a material (the tone of a
brick, the mottle of plaster) repeats on a fixed grid, so that it can be learned from the label map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recast.jobs.samples.facade_layout import Array, Part


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a house, RGB. They follow from the wall's material, which the label map tells."""

    wall: tuple[int, int, int]
    joint: tuple[int, int, int]
    trim: tuple[int, int, int]
    frame: tuple[int, int, int]
    wood: tuple[int, int, int]
    blind: tuple[int, int, int]
    roof: tuple[int, int, int]
    awning: tuple[int, int, int]
    panes: tuple[int, int]
    """Into how many panes a window is divided, across and down."""


PALETTES = {
    "brick": Palette(
        wall=(164, 84, 64), joint=(196, 170, 150), trim=(228, 214, 188), frame=(242, 240, 232), wood=(34, 78, 60),
        blind=(44, 88, 70), roof=(88, 96, 110), awning=(186, 52, 48), panes=(2, 4),
    ),
    "plaster": Palette(
        wall=(238, 206, 146), joint=(224, 190, 130), trim=(250, 244, 230), frame=(252, 248, 238), wood=(124, 76, 44),
        blind=(66, 122, 130), roof=(186, 100, 68), awning=(34, 124, 118), panes=(2, 3),
    ),
    "stone": Palette(
        wall=(198, 194, 184), joint=(156, 152, 144), trim=(226, 222, 212), frame=(62, 66, 74), wood=(38, 56, 98),
        blind=(112, 128, 150), roof=(104, 118, 134), awning=(44, 66, 120), panes=(2, 2),
    ),
}  # fmt: skip

GLASS_BRIGHT, GLASS_DARK = (158, 186, 208), (44, 56, 72)
GOLD, IRON, LAMPLIGHT = (224, 186, 92), (40, 42, 48), (250, 214, 150)
TONES = np.random.default_rng(7).normal(1.0, 0.06, (8, 8))
"""The tone of a brick, tile or stone by its place on the grid."""
LETTERS = np.random.default_rng(12).random((5, 32)) < 0.55
"""What a shop's sign says, in dots."""


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of a part: the coordinates in units of the pixels of its box, rows [h, 1] and columns [1, w]."""

    y: Array
    x: Array
    part: Part

    @property
    def down(self) -> Array:
        """0 at the upper edge, 1 at the lower edge."""
        return (self.y - self.part.top) / (self.part.bottom - self.part.top)

    @property
    def across(self) -> Array:
        """0 at the left edge, 1 at the right edge."""
        return (self.x - self.part.left) / (self.part.right - self.part.left)

    def within(self, margin: float) -> Array:
        """The pixels that lie at least so many units inside the part's outline: bool [h, w]."""
        p = self.part
        inner = Part(p.kind, p.left + margin, p.top + margin, p.right - margin, p.bottom - margin, p.shape)
        boxed = (self.y >= inner.top) & (self.y < inner.bottom) & (self.x >= inner.left) & (self.x < inner.right)
        return boxed & inner.covers(self.y, self.x)


Painter = Callable[[Spot, Palette, Array], Array]
"""From a place, a palette and the colours already there, float [h, w, 3], to the new colours."""


def mix(below: Array | tuple[int, int, int], above: Array | tuple[int, int, int], share: Array) -> Array:
    """`above` laid over `below`; its share of each pixel is in [0, 1], [h, w]."""
    share = np.asarray(share, dtype=np.float32)[..., None]
    return np.asarray(below, np.float32) * (1 - share) + np.asarray(above, np.float32) * share


def shaded(colour: tuple[int, int, int], brightness: Array) -> Array:
    return np.asarray(colour, np.float32) * np.asarray(brightness, np.float32)[..., None]


def courses(at: Spot, height: float, width: float, joint: float) -> tuple[Array, Array]:
    """Rows of bricks, each shifted by half of one: their tones [h, w], and where the joints are [h, w]."""
    row = np.floor(at.y / height).astype(int)
    along = at.x + (row % 2) * (width / 2)
    tones = TONES[row % 8, np.floor(along / width).astype(int) % 8]
    return tones, (at.y % height >= height - joint) | (along % width >= width - joint)


def brick(at: Spot, palette: Palette, _: Array) -> Array:
    tones, joints = courses(at, height=4, width=8, joint=0.9)
    return mix(shaded(palette.wall, tones), palette.joint, 0.6 * joints)


def plaster(at: Spot, palette: Palette, _: Array) -> Array:
    turn = 2 * np.pi / 32
    mottle = np.sin(turn * (at.x + 2 * at.y)) + np.sin(turn * (3 * at.x - at.y) + 1) + np.sin(turn * 5 * (at.x + at.y))
    return shaded(palette.wall, 1 + 0.016 * mottle)


def stone(at: Spot, palette: Palette, _: Array) -> Array:
    tones, joints = courses(at, height=8, width=16, joint=0.8)
    lit = 1 + 0.06 * (at.y % 8 < 1)
    return mix(shaded(palette.wall, (0.6 + 0.4 * tones) * lit), palette.joint, 0.9 * joints)


def glass(at: Spot, bright: float = 1.0) -> Array:
    """A pane that mirrors the sky above, the street below, and a slanting streak of light."""
    high = np.clip(1.15 - at.y / 128, 0.3, 1)
    share = np.clip((1 - at.down) * high * bright, 0, 1) + 0 * at.x
    slant = (at.x - at.part.left) + 0.6 * (at.y - at.part.top)
    width = at.part.right - at.part.left
    streak = (slant > 0.55 * width) & (slant < 0.85 * width)
    return mix(mix(GLASS_DARK, GLASS_BRIGHT, share), (255, 255, 255), 0.22 * streak)


def bars(at: Spot, across: int, down: int, width: float) -> Array:
    """The glazing bars that divide a window into so many panes: bool [h, w]."""
    upright = np.abs(at.across * across - np.round(at.across * across)) * (at.part.right - at.part.left) / across
    level = np.abs(at.down * down - np.round(at.down * down)) * (at.part.bottom - at.part.top) / down
    return (upright < width / 2) | (level < width / 2)


def window(at: Spot, palette: Palette, _: Array) -> Array:
    across, down = palette.panes
    if at.part.bottom - at.part.top < 12:
        down = 2
    panes = glass(at)
    if palette.panes[1] == 3:
        gathered = np.abs(at.across - 0.5) > 0.5 - 0.16 * (0.6 + at.down)
        panes = mix(panes, (236, 232, 222), 0.75 * gathered)
    recess = (at.y - at.part.top < 2.4) | (at.x - at.part.left < 2.0)
    panes = panes * (1 - 0.3 * recess)[..., None]
    frame = bars(at, across, down, 0.9) | ~at.within(1.1)
    return mix(panes, palette.frame, frame)


def door(at: Spot, palette: Palette, _: Array) -> Array:
    panel_x = np.abs((at.across * 2) % 1 - 0.5) < 0.32
    panel_y = np.abs((at.down * 4) % 1 - 0.5) < 0.36
    groove = (np.abs((at.across * 2) % 1 - 0.5) < 0.40) & (np.abs((at.down * 4) % 1 - 0.5) < 0.42)
    leaf = shaded(palette.wood, 1 - 0.35 * groove + 0.55 * (panel_x & panel_y))
    leaf = mix(leaf, (16, 16, 18), np.abs(at.across - 0.5) < 0.035 + 0 * at.down)
    light = (at.down < 0.25) & at.within(1.0)
    leaf = mix(leaf, glass(at, 0.9), light & ~(np.abs(at.across - 0.5) < 0.05))
    handle = (np.abs(at.across - 0.6) < 0.05) & (np.abs(at.down - 0.62) < 0.03)
    return mix(leaf, GOLD, handle)


def cornice(at: Spot, palette: Palette, _: Array) -> Array:
    profile = 1.06 - 0.1 * (at.down > 0.3) - 0.12 * (at.down > 0.75)
    deep = at.part.bottom - at.part.top >= 4
    dentils = (at.x % 4 < 2) & (at.down > 0.5) & deep
    return shaded(palette.trim, np.clip(profile - 0.16 * dentils, 0, 1.1) + 0 * at.x)


def sill(at: Spot, palette: Palette, _: Array) -> Array:
    return shaded(palette.trim, 1.08 - 0.2 * (at.down > 0.5) + 0 * at.x)


def molding(at: Spot, palette: Palette, _: Array) -> Array:
    key = (np.abs(at.across - 0.5) * (at.part.right - at.part.left) < 1.5) & (at.y - at.part.top < 2.5)
    return shaded(palette.trim, np.where(at.within(0.7), 0.9, 1.0) + 0.1 * key)


def pillar(at: Spot, palette: Palette, _: Array) -> Array:
    rounding = 1.06 - 0.3 * np.clip(at.across - 0.25, 0, 1) - 0.12 * ((at.x - at.part.left) % 1.6 < 0.5)
    ends = (at.y - at.part.top < 3) | (at.part.bottom - at.y < 3)
    return shaded(palette.trim, np.where(ends, 1.04, rounding))


def blind(at: Spot, palette: Palette, _: Array) -> Array:
    slats = 0.82 + 0.4 * ((at.y % 2) / 2)
    return shaded(palette.blind, np.where(at.within(0.6), slats, 0.9))


def balcony(at: Spot, palette: Palette, there: Array) -> Array:
    """Iron bars, with what lies behind them showing through; a slab of stone at the foot."""
    rail = at.y - at.part.top < 1
    iron = (at.x % 4 < 1.2) | rail | (np.abs(at.part.bottom - 3.6 - at.y) < 0.5)
    rings = np.hypot(at.x % 4 - 2.6, (at.y - at.part.top) - 2.6)
    railing = mix(there, IRON, 0.9 * (iron | (np.abs(rings - 1.1) < 0.4)))
    slab = at.part.bottom - at.y
    return np.where((slab <= 2.5)[..., None], shaded(palette.trim, 0.82 + 0.22 * (slab > 1.4) + 0 * at.x), railing)


def shop(at: Spot, palette: Palette, _: Array) -> Array:
    warm = mix(glass(at, 0.8), LAMPLIGHT, 0.55 * np.clip(1.1 - np.abs(at.down - 0.4) * 2, 0, 1) + 0 * at.x)
    goods = (at.x % 8 < 5) & (np.abs(at.down - 0.72) < 0.11 + 0.05 * np.sin(at.x))
    window_front = mix(warm, (112, 84, 70), 0.6 * goods)
    riser = at.down > 0.85
    frame = (at.x % 16 < 1.2) | riser | (at.across < 0.02) | (at.across > 0.98)
    return np.where(
        frame[..., None], shaded(palette.wood, 1.0 + 0.3 * (riser & (at.down < 0.89)) + 0 * at.x), window_front
    )


def sign(at: Spot, palette: Palette, _: Array) -> Array:
    board = mix(shaded(palette.wood, 0.8 + 0 * (at.across + at.down)), GOLD, 0.8 * ~at.within(0.6))
    line = np.clip(((at.y - at.part.top - 1.2) / 0.75).astype(int), -1, 5)
    written = (line >= 0) & (line < 5) & (np.abs(at.across - 0.5) < 0.36)
    return mix(board, GOLD, written & LETTERS[np.clip(line, 0, 4), (at.x % 32).astype(int)])


def awning(at: Spot, palette: Palette, _: Array) -> Array:
    cloth = np.where((at.x % 8 < 4)[..., None], palette.awning, (246, 240, 228)).astype(np.float32)
    valance = at.part.bottom - at.y < 1.6
    return cloth * (1.08 - 0.26 * at.down - 0.12 * valance + 0 * at.x)[..., None]


def roof(at: Spot, palette: Palette, _: Array) -> Array:
    tones, joints = courses(at, height=4, width=4, joint=0.7)
    lap = 1.08 - 0.16 * (at.y % 4) / 4
    return shaded(palette.roof, tones * lap * (1 - 0.3 * joints))


def chimney(at: Spot, palette: Palette, _: Array) -> Array:
    tones, joints = courses(at, height=2, width=4, joint=0.5)
    stack = mix(shaded(PALETTES["brick"].wall, tones * (1.1 - 0.35 * at.across)), (120, 96, 86), 0.6 * joints)
    return mix(stack, palette.trim, at.y - at.part.top < 1.6 + 0 * at.x)


def sky(at: Spot, _: Palette, __: Array) -> Array:
    haze = np.clip(at.y / 36, 0, 1) + 0 * at.x
    return mix((112, 158, 214), (216, 228, 238), haze)


def pavement(at: Spot, _: Palette, __: Array) -> Array:
    joints = ((at.x + 3 * at.down) % 16 < 0.7) & (at.down < 0.6)
    kerb = (at.down > 0.6) & (at.down < 0.78)
    brightness = 1.0 - 0.12 * joints + 0.12 * kerb - 0.38 * (at.down >= 0.78)
    return shaded((168, 164, 160), brightness)


def tree(at: Spot, _: Palette, __: Array) -> Array:
    if at.part.shape == "box":
        return shaded((92, 70, 52), 1.15 - 0.5 * at.across + 0 * at.down)
    turn = 2 * np.pi / 16
    clumps = np.sin(turn * (2 * at.x + at.y)) * np.sin(turn * (2 * at.y - at.x))
    leaves = np.sin(turn * (4 * at.x - at.y)) * np.sin(turn * (5 * at.y + 2 * at.x) + 1)
    lit = 1.3 - 0.6 * at.down - 0.25 * at.across
    return shaded((80, 118, 58), lit * (1 + 0.16 * clumps + 0.2 * leaves))


PAINTERS: dict[str, Painter] = {
    "sky": sky,
    "brick": brick,
    "plaster": plaster,
    "stone": stone,
    "window": window,
    "door": door,
    "cornice": cornice,
    "sill": sill,
    "balcony": balcony,
    "blind": blind,
    "molding": molding,
    "pillar": pillar,
    "shop": shop,
    "awning": awning,
    "sign": sign,
    "roof": roof,
    "chimney": chimney,
    "pavement": pavement,
    "tree": tree,
}
"""Who paints each class."""
