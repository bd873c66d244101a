"""Encoded bytes to pixels as a person would see them; what can't be decoded is a Fault with its kind."""

import functools
import io
import re
from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from recast.pipeline.images.faults import Fault
from recast.pipeline.images.pictures import Picture

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "MPO", "ICO", "TGA", "DDS")
"""What is decoded. Pillow's other readers (PostScript among them) start programs or take anything for an image."""

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked from the header, and a refusal rather than a warning


def decode(data: bytes, max_pixels: int) -> Picture:
    """An image file's bytes as a Picture.

    Raises:
        Fault: `empty`, `not-an-image`, `too-large` (from the header, before any pixels), `truncated`, `corrupt`.
    """
    if not data:
        raise Fault("empty", "the file has no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_available()) as image:
            if image.width * image.height > max_pixels:
                raise Fault(
                    "too-large", f"{image.width:,} x {image.height:,} pixels; the limit is {max_pixels:,} in all"
                )
            return _picture(image, data)
    except Fault:
        raise
    except UnidentifiedImageError as fault:
        raise Fault("not-an-image", f"{len(data):,} bytes that no image format claims") from fault
    except MemoryError as fault:
        raise Fault("too-large", "decoding it takes more memory than there is") from fault
    except Exception as fault:  # decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error, …
        raise _damage(fault, len(data)) from fault


@functools.cache
def _available() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _damage(fault: Exception, length: int) -> Fault:
    text = re.sub(r"<[^>]*>", "", str(fault)).strip() or type(fault).__name__
    if "truncated" in text.lower() or isinstance(fault, EOFError):
        return Fault("truncated", f"the image ends early, after {length:,} bytes ({text})")
    return Fault("corrupt", f"the image can't be decoded: {text}")


def _picture(image: Image.Image, data: bytes) -> Picture:
    notes: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        image.seek(0)
        notes.append(f"first of {frames} frames")
    pixels, alpha, icc = _jpeg(image, data), None, image.info.get("icc_profile")
    if pixels is None:
        image.load()
        deep = _sixteen_bit(image, data)
        pixels, alpha = deep if deep is not None else (None, _alpha(image))
        if image.mode == "F":
            notes.append("reduced to 8 bits from floating point")
    if pixels is None:
        converted = image
        if image.mode in ("CMYK", "YCCK", "LAB"):
            converted, icc = _to_srgb(image, icc), None
        pixels = _eight_bit(converted)
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1), lambda upright: upright)
    return Picture(
        pixels=np.ascontiguousarray(turn(pixels)),
        alpha=None if alpha is None else np.ascontiguousarray(turn(alpha)),
        icc=icc,
        exif=_exif(image),
        xmp=_xmp(image),
        notes=tuple(notes),
    )


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What turns an image upright, by its EXIF orientation (CIPA DC-008, 4.6.4)."""


def _jpeg(image: Image.Image, data: bytes) -> np.ndarray | None:
    """uint8 [H, W, C] of an ordinary JPEG, faster than Pillow's and the same; None leaves it to Pillow."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB" if image.mode == "RGB" else "GRAY")
    except ValueError:  # damaged; Pillow says how, or makes more of it
        return None


def _sixteen_bit(image: Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None] | None:
    """uint16 [H, W, C] and alpha of an image that is that deep, which Pillow reads in greyscale alone."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64).clip(0, 65535).astype(np.uint16)[..., None], None
    bits = data[24] if image.format == "PNG" else int(np.max(getattr(image, "tag_v2", {}).get(258, 8)))
    if bits != 16 or image.mode not in ("RGB", "RGBA", "L", "LA"):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[:2] != (image.height, image.width):
        return None
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] == 4:
        alpha = (pixels[..., 3] >> 8).astype(np.uint8)
        return pixels[..., 2::-1], None if alpha.min() == 255 else alpha
    return pixels[..., ::-1], None


def _alpha(image: Image.Image) -> np.ndarray | None:
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha


def _eight_bit(image: Image.Image) -> np.ndarray:
    """uint8 [H, W, C]; floating-point greyscale by its range: up to 1, or up to 255."""
    if image.mode == "F":
        values = np.asarray(image)
        top = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
        return np.nan_to_num(np.rint(values * (255.0 / top))).clip(0, 255).astype(np.uint8)[..., None]
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
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


def _exif(image: Image.Image) -> bytes | None:
    exif = image.getexif()
    if not exif:
        return None
    exif.pop(ExifTags.Base.Orientation, None)
    try:
        return exif.tobytes()  # the main image's tags; the thumbnail directory is not carried over
    except Exception:  # damaged EXIF is no reason to lose a sound image, and damaged EXIF is not passed on
        return None


def _xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp")
    return xmp.encode() if isinstance(xmp, str) else xmp
