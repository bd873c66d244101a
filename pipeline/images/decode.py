"""Encoded bytes to pixels as a person would see them; what can't be decoded is a Fault with its kind."""

import io
import re

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from pipeline.images.faults import Fault
from pipeline.images.pictures import Picture

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
            return _picture(image)
    except Fault:
        raise
    except UnidentifiedImageError as fault:
        raise Fault("not-an-image", f"{len(data):,} bytes that no image format claims") from fault
    except MemoryError as fault:
        raise Fault("too-large", "decoding it takes more memory than there is") from fault
    except Exception as fault:  # decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error, …
        raise _damage(fault, len(data)) from fault


def _available() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _damage(fault: Exception, length: int) -> Fault:
    text = re.sub(r"<[^>]*>", "", str(fault)).strip() or type(fault).__name__
    if "truncated" in text.lower() or isinstance(fault, EOFError):
        return Fault("truncated", f"the image ends early, after {length:,} bytes ({text})")
    return Fault("corrupt", f"the image can't be decoded: {text}")


def _picture(image: Image.Image) -> Picture:
    notes: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        image.seek(0)
        notes.append(f"first of {frames} frames")
    image.load()
    icc = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    exif, alpha = _exif(upright), _alpha(upright)
    if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        notes.append(f"reduced to 8 bits from {upright.mode}")
        return Picture(pixels=_eight_bit(upright), icc=icc, exif=exif, notes=tuple(notes))
    if upright.mode in ("CMYK", "YCCK", "LAB"):
        upright, icc = _to_srgb(upright, icc), None
    grey = upright.mode in ("1", "L", "LA", "La")
    pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    pixels = pixels[..., None] if grey else pixels
    return Picture(pixels=np.ascontiguousarray(pixels), alpha=alpha, icc=icc, exif=exif, notes=tuple(notes))


def _alpha(image: Image.Image) -> np.ndarray | None:
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha


def _eight_bit(image: Image.Image) -> np.ndarray:
    """Deep greyscale as uint8 [H, W, 1]: 16-bit values by their high byte, whatever their maximum; floats by range."""
    values = np.asarray(image)
    if image.mode == "F":
        top = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
        return np.nan_to_num(np.rint(values * (255.0 / top))).clip(0, 255).astype(np.uint8)[..., None]
    return (values.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)[..., None]


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
