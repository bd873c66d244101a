"""What Pillow opened, as pixels: at the depth that the file has, with its opacity, and what was lost on the way."""

import io
import re

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageCms

from recast.pipeline.images.bounds import PNM_HEADER_BYTES
from recast.pipeline.images.png import PngFile
from recast.pipeline.images.tiff import TiffFile

_PPM_TOP = re.compile(rb"P[36](?:(?:\s|#[^\r\n]*+[\r\n])++(\d++)){3}")
"""A PPM file's header up to its brightest value."""


def jpeg(image: Image.Image, data: bytes) -> np.ndarray | None:
    """uint8 [H, W, C] of an ordinary JPEG, faster than Pillow's and the same; None leaves it to Pillow."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != image.size:
            return None
        return simplejpeg.decode_jpeg(data, colorspace="RGB" if image.mode == "RGB" else "GRAY")
    except ValueError:  # damaged; Pillow says how, or makes more of it
        return None


def sixteen_bit(
    image: Image.Image, found: TiffFile | None, png_file: PngFile | None
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """uint16 [H, W, C] and alpha of an image that is that deep, which Pillow reads in greyscale alone."""
    if image.mode.startswith("I"):
        return _deep_grey(image, found, png_file)
    if not png_file or png_file.bits != 16 or image.mode not in ("RGB", "RGBA", "L", "LA"):
        return None
    pixels = cv2.imdecode(np.frombuffer(png_file.plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != (image.height, image.width):
        return None
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] == 4:
        return pixels[..., 2::-1], _unless_opaque((pixels[..., 3] >> 8).astype(np.uint8))
    return pixels[..., ::-1], None


def _deep_grey(
    image: Image.Image, found: TiffFile | None, png_file: PngFile | None
) -> tuple[np.ndarray, np.ndarray | None]:
    grey: np.ndarray = np.asarray(image).astype(np.int64).clip(0, 65535).astype(np.uint16)
    if found and max(found.first.bits, default=16) == 12:
        grey = (grey << 4) | (grey >> 8)
    alpha = None
    if png_file and len(png_file.transparent) >= 2:
        alpha = _unless_opaque(np.where(grey == int.from_bytes(png_file.transparent[:2], "big"), 0, 255))
    return grey[..., None], alpha


def _unless_opaque(alpha: np.ndarray) -> np.ndarray | None:
    return None if alpha.min() == 255 else alpha.astype(np.uint8)


def lost(image: Image.Image, data: bytes, found: TiffFile | None) -> list[str]:
    """Notes on bits and bands that Pillow leaves out."""
    notes = []
    if found:
        bits, bands = found.first.bits, len(image.getbands())
        if max(bits, default=8) > 8:
            notes.append(f"reduced to 8 bits from {max(bits)}")
        if len(bits) > bands and image.mode not in ("P", "PA"):
            notes.append(f"the first {bands} of {len(bits)} bands")
    elif (bits_each := _declared_bits(image, data)) > 8:
        notes.append(f"reduced to 8 bits from {bits_each}")
    return notes


def _declared_bits(image: Image.Image, data: bytes) -> int:
    """Bits of each sample of a format that Pillow brings down to 8 in colour."""
    if image.format == "JPEG2000":
        at = data.find(b"\xff\x4f\xff\x51")  # SOC and SIZ; the depth of the first component is 40 bytes on
        return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8
    if image.format == "AVIF":
        at = data.find(b"av1C")
        flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    if image.format == "PPM" and (found := _PPM_TOP.match(data[:PNM_HEADER_BYTES])):
        return int(found[1]).bit_length()
    return 8


def alpha(image: Image.Image, png_file: PngFile | None) -> np.ndarray | None:
    if png_file and png_file.colour == 0 and png_file.bits in (2, 4) and len(png_file.transparent) >= 2:
        level = int.from_bytes(png_file.transparent[:2], "big") * (255 // (2**png_file.bits - 1))
        alpha = np.where(np.asarray(image.convert("L")) == level, 0, 255)
    elif image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    else:
        return None
    return _unless_opaque(alpha)


def eight_bit(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, C]"""
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """CMYK and Lab by their own profile where it is sound, else by Pillow's plain formula."""
    if icc:
        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
