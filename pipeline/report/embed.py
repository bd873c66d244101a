"""Pictures inside the page: pixels as data URIs, exact where that is affordable."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recast.pipeline.images.pictures import Picture, as_rgb8

AFFORDABLE_BYTES = 320_000
"""A picture larger than this without loss is kept with little loss instead."""
LOSSLESS_PIXELS = 1 << 20
"""A copy without loss of larger pictures is hardly ever affordable, and takes long to try."""
LARGEST_PROFILE_BYTES = 8_000
BROWSERS_SHOW = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as a data URI."""

    uri: str
    width: int
    height: int
    exact: bool
    """Whether its pixels are those of the original, not ones of a lossy copy."""


def image_of(picture: Picture) -> Image.Image:
    """A decoded picture as a Pillow image, with its opacity and its colour profile, if that is small."""
    return _image(as_rgb8(picture.pixels), picture.alpha, picture)


def visible(picture: Picture) -> list[tuple[str, Image.Image]]:
    """A decoded picture, opaque, as a person may come to see it, each time with what that is.

    Of transparent pictures what shows on white, on black, and without the transparency; and where all values are close
    together, as in 16 bits that only hold 8, the picture stretched to them.
    """
    pixels, note = _stretched(picture.pixels)
    if picture.alpha is None:
        return [(note, _image(pixels, None, picture))]
    share = (picture.alpha.astype(np.float32) / 255)[..., None]
    looks = [("on white", 255.0), ("on black", 0.0), ("without its transparency", None)]
    found = []
    for what, ground in looks:
        laid = pixels if ground is None else (pixels * share + ground * (1 - share)).round().astype(np.uint8)
        found.append((", ".join(filter(None, (what, note))), _image(laid, None, picture)))
    return found


def _stretched(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """uint8 [H, W, 3], stretched where a quarter of the range holds nearly all values; and a note of that."""
    top = np.iinfo(pixels.dtype).max
    low, high = (float(value) for value in np.percentile(pixels[:: max(1, len(pixels) // 2000)], (0.1, 99.9)))
    if high - low >= (top + 1) / 4:
        return as_rgb8(pixels), ""
    spread = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1.0))
    note = f"stretched to be seen: its values lie between {low:,.0f} and {high:,.0f} of {top:,}"
    return as_rgb8(spread.clip(0, 255).astype(np.uint8)), note if high > low else ""


def _image(pixels: np.ndarray, alpha: np.ndarray | None, picture: Picture) -> Image.Image:
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    if picture.icc and len(picture.icc) <= LARGEST_PROFILE_BYTES and picture.pixels.shape[2] == 3:
        image.info["icc_profile"] = picture.icc
    return image


def embed(image: Image.Image, affordable_bytes: int = AFFORDABLE_BYTES) -> Embedded:
    """A picture without loss if that is affordable, else with as little as is."""
    data, exact = b"", False
    if image.width * image.height <= LOSSLESS_PIXELS:
        data, exact = _webp(image, lossless=True, quality=40), True
    for quality in (94, 85, 70, 50):
        if data and len(data) <= affordable_bytes:
            break
        data, exact = _webp(image, lossless=False, quality=quality), False
    return Embedded(_uri("image/webp", data), image.width, image.height, exact)


def embed_file(data: bytes, image: Image.Image, affordable_bytes: int = AFFORDABLE_BYTES) -> Embedded:
    """A whole image file: its own bytes where every browser shows them as they are, else as `embed` does."""
    with Image.open(io.BytesIO(data)) as opened:
        kind = BROWSERS_SHOW.get(opened.format or "", "")
    if kind and len(data) <= affordable_bytes:
        return Embedded(_uri(kind, data), image.width, image.height, True)
    return embed(image, affordable_bytes)


def _webp(image: Image.Image, *, lossless: bool, quality: int) -> bytes:
    data = io.BytesIO()
    profile = image.info.get("icc_profile") or b""
    image.save(data, "WEBP", lossless=lossless, quality=quality, method=2, use_sharp_yuv=True, icc_profile=profile)
    return data.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
