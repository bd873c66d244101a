"""Pictures inside the page: pixels as data URIs, exact where that is affordable."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

from recast.pipeline.images.pictures import Picture

AFFORDABLE_BYTES = 320_000
"""A picture larger than this without loss is kept with little loss instead."""
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
    pixels = picture.pixels[..., 0] if picture.pixels.shape[2] == 1 else picture.pixels
    image = Image.fromarray(pixels).convert("RGB")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    if picture.icc and len(picture.icc) <= LARGEST_PROFILE_BYTES and picture.pixels.shape[2] == 3:
        image.info["icc_profile"] = picture.icc
    return image


def embed(image: Image.Image, affordable_bytes: int = AFFORDABLE_BYTES) -> Embedded:
    """A picture without loss if that is affordable, else with as little as is."""
    data, exact = _webp(image, lossless=True, quality=40), True
    for quality in (94, 85, 70, 50):
        if len(data) <= affordable_bytes:
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
