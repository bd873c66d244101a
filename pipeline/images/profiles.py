"""Colour profiles: those of inputs are checked before they are passed on, or exchanged for clean ones of our own.

A profile is a file in the file: it has texts (a display's name is often its owner's), private parts, and room behind
its end. De-identification passes none on. It recognises the common colour spaces by what they do to colours, and writes
profiles of its own for them; pixels in any other space are converted to sRGB.
"""

import functools
import io
import itertools
import struct
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageCms

from recast.pipeline.images.pictures import Picture

HEADER_BYTES = 128
SPACES = {1: b"GRAY", 3: b"RGB "}
"""What a profile for so many channels says of itself (ICC.1, header bytes 16 to 19)."""
UNREADABLE = "its colour profile can't be read and was left out"
CONVERTED = "converted to sRGB from its own colour profile"
STRIP_PIXELS = 1 << 20
"""Converted at once where pixels have 16 bits, which takes several copies."""
D50 = (0.96420, 1.0, 0.82491)
D65 = (0.31270, 0.32900)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Parameters of a parametric curve of type 3 (ICC.1, 10.18)."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """A colour space that many images are in."""

    name: str
    curve: tuple[float, ...]
    """One exponent, or the five parameters of sRGB's curve."""
    primaries: tuple[tuple[float, float], ...] = ()
    """Chromaticities x, y of red, green and blue; none for grey."""
    white: tuple[float, float] = D65


SPACES_KNOWN = (
    Space(name="sRGB", curve=_SRGB_CURVE, primaries=((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))),
    Space(name="Display P3", curve=_SRGB_CURVE, primaries=((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
    Space(name="Adobe RGB (1998)", curve=(563 / 256,), primaries=((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))),
    Space(
        name="ROMM RGB", curve=(1.8,), white=(0.3457, 0.3585),
        primaries=((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105)),
    ),
    Space(name="Grey, as sRGB", curve=_SRGB_CURVE),
    Space(name="Grey, gamma 2.2", curve=(2.2,)),
    Space(name="Grey, gamma 1.8", curve=(1.8,)),
    Space(name="Grey, linear", curve=(1.0,)),
)  # fmt: skip


def checked(picture: Picture) -> Picture:
    """A picture whose profile ends where it says it does, and can be read; else without it, and with a note."""
    if picture.icc is None:
        return picture
    icc = _cut(picture.icc, picture.pixels.shape[2])
    return replace(picture, icc=icc) if icc and _parsed(icc) else _without(picture, UNREADABLE)


def exchanged(picture: Picture, *, tagged: bool = True) -> Picture:
    """A picture without a byte of its profile, and with its colours.

    In a known space: with our profile of that. In any other, or if it is not to be `tagged`: converted to sRGB.
    """
    if picture.icc is None:
        return picture
    icc = _cut(picture.icc, picture.pixels.shape[2])
    space = _recognised(icc) if icc else None
    if space is None:
        return _without(picture, UNREADABLE)
    grey = picture.pixels.shape[2] == 1
    srgb = SPACES_KNOWN[4 if grey else 0]
    if space != srgb and (not tagged or space == _OTHER):
        pixels = _converted(picture.pixels, icc)
        return replace(picture, pixels=pixels, icc=profile(srgb) if tagged else None, notes=(*picture.notes, CONVERTED))
    return replace(picture, icc=profile(space) if tagged else None)


_OTHER = Space(name="other", curve=())


def _without(picture: Picture, note: str) -> Picture:
    return replace(picture, icc=None, notes=(*picture.notes, note))


def _cut(icc: bytes, channels: int) -> bytes:
    """A profile up to the length that its header gives; nothing where it is none for so many channels."""
    length = int.from_bytes(icc[:4], "big")
    sound = HEADER_BYTES + 4 <= length <= len(icc) and icc[36:40] == b"acsp" and icc[16:20] == SPACES[channels]
    return icc[:length] if sound else b""


@functools.lru_cache(64)
def _parsed(icc: bytes) -> bool:
    """Whether colours can be converted from a profile."""
    return _recognised(icc) is not None


@functools.lru_cache(64)
def _recognised(icc: bytes) -> Space | None:
    """The known space that a profile describes, `_OTHER`, or None if it can't be used at all."""
    try:
        seen = _seen(icc)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    grey = icc[16:20] == SPACES[1]
    far = {space: np.abs(seen - _known(space)) for space in SPACES_KNOWN if bool(space.primaries) != grey}
    nearest = min(far, key=lambda space: float(far[space].mean()))
    return nearest if far[nearest].max() <= 2 and far[nearest].mean() <= 0.5 else _OTHER


@functools.cache
def _known(space: Space) -> np.ndarray:
    return _seen(profile(space))


def _seen(icc: bytes) -> np.ndarray:
    """What colours of a grid look like through a profile: CIE L*, a* and b*, as int [N, 3]."""
    steps = np.linspace(0, 255, 7).round().astype(np.uint8)
    ramp = np.arange(256, dtype=np.uint8)
    if icc[16:20] == SPACES[1]:
        image = Image.fromarray(ramp[None])
    else:
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
        image = Image.fromarray(np.concatenate([grid, ramp[:, None].repeat(3, 1)])[None])
    made = ImageCms.buildTransform(_opened(icc), ImageCms.createProfile("LAB"), image.mode, "LAB")
    lab = np.asarray(ImageCms.applyTransform(image, made)).reshape(-1, 3).astype(int)
    lab[:, 1:] = (lab[:, 1:] + 128) % 256  # Pillow's a* and b* are signed bytes
    return lab


def _converted(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """Pixels uint8 or uint16 [H, W, 1 or 3] in a profile's space -> the same in sRGB."""
    if pixels.dtype == np.uint8:
        return _converted_8(pixels, icc)
    rows = max(1, STRIP_PIXELS // pixels.shape[1])
    strips = [_converted_16(pixels[start : start + rows], icc) for start in range(0, len(pixels), rows)]
    return np.concatenate(strips)


def _converted_8(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    channels = pixels.shape[2]
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    made = np.asarray(ImageCms.applyTransform(image, _to_srgb(icc, image.mode)))
    return np.ascontiguousarray(made[..., :channels])


def _converted_16(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """By the transform of 8 bits, linear between its values: Pillow's littleCMS takes no more bits."""
    below = (pixels // 257).astype(np.uint8)
    above = np.minimum(below, 254) + np.uint8(1)
    share = (pixels - below.astype(np.uint16) * 257).astype(np.float32) / 257
    made = np.zeros(pixels.shape, np.float32)
    for corner in itertools.product((False, True), repeat=pixels.shape[2]):
        weight = np.where(corner, share, 1 - share).prod(-1, keepdims=True)
        made += _converted_8(np.where(corner, above, below), icc) * weight
    return (made * 257).round().clip(0, 65535).astype(np.uint16)


@functools.lru_cache(64)
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(_opened(icc), _opened(profile(SPACES_KNOWN[0])), mode, "RGB")


def _opened(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


@functools.cache
def profile(space: Space) -> bytes:
    """A profile of a colour space (ICC.1:2022, version 4.4), the same bytes each time."""
    adapted = _adaptation(space.white)
    tags = {b"desc": _text(space.name), b"cprt": _text("No copyright, use freely"), b"wtpt": _xyz(D50)}
    tags[b"chad"] = b"sf32\0\0\0\0" + b"".join(map(_fixed, adapted.flatten()))
    if space.primaries:
        columns = adapted @ _colorants(space)
        for n, colour in enumerate((b"r", b"g", b"b")):
            tags[colour + b"XYZ"], tags[colour + b"TRC"] = _xyz(columns[:, n]), _curve(space.curve)
    else:
        tags[b"kTRC"] = _curve(space.curve)
    return _file(tags, SPACES[3 if space.primaries else 1])


def _colorants(space: Space) -> np.ndarray:
    """XYZ of the primaries [3, 3], in columns, so bright that together they are the white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in space.primaries]).T
    x, y = space.white
    return columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y]))


def _adaptation(white: tuple[float, float]) -> np.ndarray:
    """Bradford's matrix from a white to D50."""
    x, y = white
    scale = (_BRADFORD @ np.array(D50)) / (_BRADFORD @ np.array([x / y, 1.0, (1 - x - y) / y]))
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD


def _file(tags: dict[bytes, bytes], space: bytes) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = HEADER_BYTES + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    created = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x04400000, b"mntr", space, b"XYZ ") + created + b"acsp"
    head += b"\0" * 28 + b"".join(map(_fixed, D50))
    return head.ljust(HEADER_BYTES, b"\0") + table + body


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(data), 28) + data


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _curve(parameters: tuple[float, ...]) -> bytes:
    kind = 3 if len(parameters) == 5 else 0
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, parameters))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))
