"""Encoded bytes to pixels as a person would see them; what can't be decoded is an InputError with its kind."""

import functools
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import COMPRESSION_INFO

from recast.pipeline.images import pillow_pixels, png, tiff, tiff_samples
from recast.pipeline.images.bounds import check_header, check_size
from recast.pipeline.images.frames import first_of, left_out
from recast.pipeline.images.metadata import carried_exif, carried_xmp
from recast.pipeline.images.pictures import Picture
from recast.pipeline.images.png import PngFile
from recast.pipeline.images.ranges import stored
from recast.pipeline.images.signatures import ADVICE, refuse_unread, unopened
from recast.pipeline.images.tiff import TiffFile
from recast.pipeline.input_errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "MPO", "ICO", "TGA", "DDS")
"""What is decoded. Pillow's other readers (PostScript among them) start programs or take anything for an image."""
MOST_EXIF_BYTES = 4 << 20
"""Longer EXIF is not looked into."""

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked from the header, and a refusal rather than a warning
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # a row says what is wrong with an image


def decode(data: bytes, max_pixels: int) -> Picture:
    """An image file's bytes as a Picture.

    Raises:
        InputError: `empty`, `not-an-image`, `unsupported`, `too-large` (from the header, before any pixels),
            `truncated`, `corrupt`. Nothing else is raised, whatever the bytes.
    """
    return _safely(_picture, data, max_pixels)


def decode_labels(data: bytes, max_pixels: int) -> Picture:
    """A label map's bytes as a Picture whose pixels are the numbers of classes, uint8 [H, W, 1].

    Those are the values of a grey image and the entries of a palette's, whatever colours it shows them in.

    Raises:
        InputError: as `decode`, and `not-labels` for an image in colours, or of numbers beyond 255.
    """
    return _safely(_labels, data, max_pixels)


def _safely(read: Callable[[bytes, int], Picture], data: bytes, max_pixels: int) -> Picture:
    if not data:
        raise InputError("empty", "the file has no bytes")
    try:
        refuse_unread(data)
        return read(data, max_pixels)
    except InputError:
        raise
    except UnidentifiedImageError as fault:
        raise unopened(data) from fault
    except MemoryError as fault:
        raise InputError("too-large", "decoding it takes more memory than there is") from fault
    except Exception as fault:  # decoders of hostile bytes raise anything: OSError, SyntaxError, struct.error, …
        raise _damage(fault, len(data)) from fault


@functools.cache
def _available() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _damage(fault: Exception, length: int) -> InputError:
    text = re.sub(r"<[^>]*>", "", str(fault)).strip() or type(fault).__name__
    if "truncated" in text.lower() or isinstance(fault, EOFError):
        return InputError("truncated", f"the image ends early, after {length:,} bytes ({text})")
    return InputError("corrupt", f"the image can't be decoded: {text}")


@dataclass(kw_only=True)
class _Decoded:
    """Pixels as they are stored, and what goes with them, before they are turned upright."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    xmp: bytes | str | None
    exif: Image.Exif
    orientation: int
    notes: list[str] = field(default_factory=list)
    converted: bool = False
    """Whether the colours are other than the file's."""


def _picture(data: bytes, max_pixels: int) -> Picture:
    check_header(data, max_pixels)
    found, png_file = tiff.parsed(data), png.parsed(data)
    if found and (packing := found.first.number(tiff.COMPRESSION, 1)) not in COMPRESSION_INFO:
        raise InputError("unsupported", f"a TIFF with compression {packing}, {ADVICE}")
    if found and tiff_samples.wants_own_reader(found.first):
        decoded = _by_samples(found, data, max_pixels)
    else:
        try:
            with Image.open(io.BytesIO(png_file.plain if png_file else data), formats=_available()) as image:
                check_size(image.width, image.height, max_pixels)
                decoded = _by_pillow(image, data, found, png_file)
        except UnidentifiedImageError:
            if found is None:
                raise
            decoded = _by_samples(found, data, max_pixels)
    turn: Callable[[np.ndarray], np.ndarray] = _TURNS.get(decoded.orientation, np.asarray)
    pixels = np.ascontiguousarray(turn(decoded.pixels))
    return Picture(
        pixels=pixels,
        alpha=None if decoded.alpha is None else np.ascontiguousarray(turn(decoded.alpha)),
        icc=decoded.icc,
        exif=carried_exif(decoded.exif, pixels.shape[1], pixels.shape[0], converted=decoded.converted),
        xmp=carried_xmp(decoded.xmp),
        notes=tuple(note for note in decoded.notes if note),
    )


def _labels(data: bytes, max_pixels: int) -> Picture:
    check_header(data, max_pixels)
    with Image.open(io.BytesIO(data), formats=_available()) as image:
        check_size(image.width, image.height, max_pixels)
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            raise InputError("not-labels", f"an image in colours ({image.mode}); a label map has one number a pixel")
        numbers = np.asarray(image).astype(np.int64)
        turn: Callable[[np.ndarray], np.ndarray] = _TURNS.get(_orientation(_exif_of(image, None), None), np.asarray)
    if (odd := numbers[(numbers < 0) | (numbers > 255)]).size:
        raise InputError("not-labels", f"the number {odd[0]:,} is in it; classes from 0 to 255 are read")
    return Picture(pixels=np.ascontiguousarray(turn(numbers.astype(np.uint8)))[..., None])


def _by_samples(found: TiffFile, data: bytes, max_pixels: int) -> _Decoded:
    """A TIFF file of which the numbers are to be read as they are."""
    first = found.first
    pixels, alpha, notes = tiff_samples.read(first, max_pixels)
    xmp = first.values(ExifTags.Base.XMLPacket).tobytes() or None
    return _Decoded(
        pixels=pixels,
        alpha=alpha,
        icc=first.values(ExifTags.Base.InterColorProfile).tobytes() or None,
        xmp=xmp,
        exif=_exif_in_tiff(data) if found.small_exif else Image.Exif(),
        orientation=first.number(tiff.ORIENTATION, 0) or _xmp_orientation(xmp),
        notes=[found.note(), *notes],
    )


def _by_pillow(image: Image.Image, data: bytes, found: TiffFile | None, png_file: PngFile | None) -> _Decoded:
    notes = [found.note()] if found else [first_of(png_file.frames)] if png_file else list(left_out(image, data))
    pixels, alpha = pillow_pixels.jpeg(image, data), None
    icc, converted = png_file.icc if png_file else image.info.get("icc_profile"), False
    if pixels is None:
        image.load()
        deep = pillow_pixels.sixteen_bit(image, found, png_file)
        pixels, alpha = deep if deep is not None else (None, pillow_pixels.alpha(image, png_file))
    if pixels is None:
        notes += pillow_pixels.lost(image, data, found)
        shown = image
        if image.mode in ("CMYK", "YCCK", "LAB"):
            shown, icc, converted = pillow_pixels.to_srgb(image, icc), None, True
        pixels, more = (
            stored(np.asarray(image)[..., None]) if image.mode == "F" else (pillow_pixels.eight_bit(shown), ())
        )
        notes += more
    exif = _exif(png_file.exif) if png_file else _exif_of(image, found)
    xmp = png_file.xmp if png_file else image.info.get("xmp")
    return _Decoded(
        pixels=pixels,
        alpha=alpha,
        icc=icc,
        xmp=xmp,
        exif=exif,
        orientation=1 if found else _orientation(exif, xmp),  # Pillow turns a TIFF as it loads it
        notes=[*notes, *(png_file.notes if png_file else ())],
        converted=converted,
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


def _exif(data: bytes | None) -> Image.Exif:
    """EXIF as far as it can be read; damaged EXIF is no reason to lose a sound image."""
    exif = Image.Exif()
    try:
        exif.load(data if data and len(data) <= MOST_EXIF_BYTES else b"")
    except Exception:
        return Image.Exif()
    return exif


def _exif_in_tiff(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load_from_fp(io.BytesIO(data))
    except Exception:  # as above
        return Image.Exif()
    return exif


def _exif_of(image: Image.Image, found: TiffFile | None) -> Image.Exif:
    if len(image.info.get("exif") or b"") > MOST_EXIF_BYTES or (found and not found.small_exif):
        return Image.Exif()
    try:
        return image.getexif()
    except Exception:  # as above
        return Image.Exif()


def _orientation(exif: Image.Exif, xmp: bytes | str | None) -> int:
    try:
        value = exif.get(ExifTags.Base.Orientation)
    except Exception:  # as above: values are read when asked for
        value = None
    return value if isinstance(value, int) else _xmp_orientation(xmp)


def _xmp_orientation(xmp: bytes | str | None) -> int:
    packet = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp or b""
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', packet)
    return int(found[1]) if found else 1
