"""TIFF samples that Pillow reads wrongly or not at all: more than 8 bits, signed, floating point, many bands.

No decompressor is written anew: the file's strips or tiles are given to Pillow as those of an 8-bit grey picture as
wide as a row has bytes, and what its bytes mean is decided here.
"""

import io
import struct

import numpy as np
from PIL import Image

from recast.pipeline.images import tiff
from recast.pipeline.images.ranges import stored
from recast.pipeline.images.signatures import ADVICE
from recast.pipeline.images.tiff import Directory
from recast.pipeline.input_errors import InputError

MOST_BANDS = 64
MAX_SAMPLE_BYTES = 32
"""For each pixel that is allowed, so many bytes of samples are."""
_LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "zstd"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_TRANSPARENCY = (1, 2)
"""Extra samples that are opacity, multiplied in (1) or not (2)."""


def wants_own_reader(directory: Directory) -> bool:
    """Whether samples are of a kind that Pillow, or its way of reading it, would change without a word."""
    bits, photometric = directory.bits, directory.number(tiff.PHOTOMETRIC, 0)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return False
    if directory.number(tiff.COMPRESSION, 1) not in _LOSSLESS:
        return False
    return max(bits, default=1) > 12 or _format(directory) in (2, 3)


def read(directory: Directory, max_pixels: int) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """uint8 or uint16 [H, W, 1 or 3] as stored (not yet upright), opacity uint8 [H, W], and notes.

    Raises:
        InputError: `unsupported`, `too-large`, `corrupt`, `truncated`.
    """
    height, width = directory.number(tiff.LENGTH, 0), directory.number(tiff.WIDTH, 0)
    if height < 1 or width < 1:
        raise InputError("corrupt", "the TIFF's size is not said")
    if height * width > max_pixels:
        raise InputError("too-large", f"{width:,} x {height:,} pixels; the limit is {max_pixels:,} in all")
    dtype, bands = _dtype(directory), len(directory.bits)
    if height * width * bands * dtype.itemsize > MAX_SAMPLE_BYTES * max_pixels:
        raise InputError("too-large", f"{width:,} x {height:,} pixels of {bands} bands of {8 * dtype.itemsize} bits")
    colours, opacity = _meaning(directory, bands)
    samples = _samples(directory, height, width, bands, dtype)
    shown = samples[..., :colours]
    alpha = None if opacity is None else samples[..., colours]
    notes = [f"the first {colours} of {bands} bands"] if bands > colours + (alpha is not None) else []
    if alpha is not None and opacity == 1:
        shown = _unmultiplied(shown, alpha)
    pixels, told = stored(np.ascontiguousarray(shown), _nodata(directory))
    if directory.number(tiff.PHOTOMETRIC, 0) == _WHITE_IS_ZERO:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return pixels, None if alpha is None else _opacity(alpha), [*notes, *told]


def _format(directory: Directory) -> int:
    """1 unsigned, 2 signed, 3 floating point; 0 where the samples differ, or are complex."""
    formats = {int(value) for value in directory.values(tiff.SAMPLE_FORMAT)} or {1}
    one = formats.pop() if len(formats) == 1 else 0
    return 1 if one == 4 else one if one in _KINDS else 0


def _dtype(directory: Directory) -> np.dtype:
    bits, form = set(directory.bits), _format(directory)
    size = bits.pop() if len(bits) == 1 else 0
    if form and size in ((16, 32, 64) if form == 3 else (8, 16, 32, 64)):
        return np.dtype(f"{_KINDS[form]}{size // 8}")
    kind = {0: "mixed or complex", 1: "unsigned", 2: "signed", 3: "floating-point"}[form]
    raise InputError(
        "unsupported", f"a TIFF of {kind} samples of {', '.join(map(str, directory.bits[:4]))} bits, {ADVICE}"
    )


def _meaning(directory: Directory, bands: int) -> tuple[int, int | None]:
    """How many bands are colours, and what kind of opacity the band after them is."""
    photometric = directory.number(tiff.PHOTOMETRIC, 0)
    compression = directory.number(tiff.COMPRESSION, 1)
    if compression not in _LOSSLESS:
        raise InputError("unsupported", f"a TIFF of {bands} bands with compression {compression}, {ADVICE}")
    if directory.number(tiff.FILL_ORDER, 1) != 1:
        raise InputError("unsupported", f"a TIFF with bits in reversed order, {ADVICE}")
    extra = [int(kind) for kind in directory.values(tiff.EXTRA_SAMPLES)]
    if photometric == _RGB and bands >= 3:
        colours = 3
    elif photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and 1 <= bands <= 2:
        colours = 1
    else:
        raise InputError("unsupported", f"a TIFF of {bands} bands of which it isn't said that they are RGB, {ADVICE}")
    if bands == colours:
        return colours, None
    kind = extra[0] if extra else 2 if (colours, bands) == (3, 4) else 0
    if kind in _TRANSPARENCY and _format(directory) == 2:
        raise InputError("unsupported", f"a TIFF with opacity in signed numbers, {ADVICE}")
    return colours, kind if kind in _TRANSPARENCY else None


def _samples(directory: Directory, height: int, width: int, bands: int, dtype: np.dtype) -> np.ndarray:
    """[H, W, bands]"""
    if bands > MOST_BANDS:
        raise InputError("unsupported", f"a TIFF of more than {MOST_BANDS} bands, {ADVICE}")
    if directory.number(tiff.PLANAR, 1) != 2 or bands == 1:
        return _plane(directory, height, width, bands, dtype, 0, 1)
    planes = [_plane(directory, height, width, 1, dtype, n, bands) for n in range(bands)]
    return np.concatenate(planes, axis=2)


def _plane(
    directory: Directory, height: int, width: int, bands: int, dtype: np.dtype, number: int, of: int
) -> np.ndarray:
    tile = directory.number(tiff.TILE_WIDTH, 0) if tiff.TILE_OFFSETS in directory.entries else 0
    if tile % 16 or (tile and directory.number(tiff.TILE_LENGTH, 0) % 16):
        raise InputError("corrupt", f"tiles {tile} pixels wide, which is no multiple of 16")
    across = -(-width // tile) if tile else 1
    row = (tile or width) * bands
    stored_bytes = _unpacked(directory, height, across * row * dtype.itemsize, row * dtype.itemsize, number, of)
    samples = _unpredicted(stored_bytes.reshape(height, across, -1), directory, bands, dtype)
    return samples.reshape(height, -1, bands)[:, :width]


def _unpacked(directory: Directory, height: int, row_bytes: int, tile_bytes: int, number: int, of: int) -> np.ndarray:
    """uint8 [height, row_bytes]: the bytes of a plane, decompressed by Pillow as if they were grey pixels."""
    tiled = tiff.TILE_OFFSETS in directory.entries
    offsets = directory.values(tiff.TILE_OFFSETS if tiled else tiff.STRIP_OFFSETS)
    lengths = directory.values(tiff.TILE_BYTES if tiled else tiff.STRIP_BYTES)
    share = len(offsets) // of
    if not share or (len(lengths) != len(offsets) and directory.number(tiff.COMPRESSION, 1) != 1):
        raise InputError("corrupt", "the TIFF doesn't say where its pixels lie")
    part = slice(number * share, (number + 1) * share)
    tags: dict[int, np.ndarray | int] = {
        tiff.WIDTH: row_bytes, tiff.LENGTH: height, tiff.BITS: 8, tiff.PHOTOMETRIC: _BLACK_IS_ZERO, tiff.SAMPLES: 1,
        tiff.COMPRESSION: directory.number(tiff.COMPRESSION, 1),
        (tiff.TILE_OFFSETS if tiled else tiff.STRIP_OFFSETS): offsets[part],
    }  # fmt: skip
    if len(lengths) == len(offsets):
        tags[tiff.TILE_BYTES if tiled else tiff.STRIP_BYTES] = lengths[part]
    if tiled:
        tags |= {tiff.TILE_WIDTH: tile_bytes, tiff.TILE_LENGTH: directory.number(tiff.TILE_LENGTH, 0)}
    else:
        tags |= {tiff.ROWS: min(directory.number(tiff.ROWS, height), height)}
    with Image.open(io.BytesIO(_file(directory.data, tags)), formats=("TIFF",)) as image:
        return np.asarray(image)


def _file(data: bytes, tags: dict[int, np.ndarray | int]) -> bytes:
    """A TIFF file's data under another directory."""
    entries, arrays = b"", b""
    start = len(data) + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        numbers = np.atleast_1d(np.asarray(value)).astype("<u4")
        inline = numbers.size == 1
        entries += struct.pack("<HHI", tag, 4, numbers.size)
        entries += numbers.tobytes() if inline else struct.pack("<I", start + len(arrays))
        arrays += b"" if inline else numbers.tobytes()
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    return b"".join((b"II*\0", struct.pack("<I", len(data)), data[8:], directory, arrays))


def _unpredicted(rows: np.ndarray, directory: Directory, bands: int, dtype: np.dtype) -> np.ndarray:
    """uint8 [H, tiles, bytes] -> samples [H, tiles, ...]: differences from the left neighbour summed up."""
    predictor, stored_type = directory.number(tiff.PREDICTOR, 1), dtype.newbyteorder(directory.order)
    if predictor == 3 and dtype.kind == "f":
        # TIFF Technical Note 3: bytes of one significance together, the most significant first, then differences.
        shape = (*rows.shape[:2], -1, bands)
        planes = np.cumsum(rows.reshape(shape), axis=2, dtype=np.uint8).reshape(*rows.shape[:2], dtype.itemsize, -1)
        return np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))[..., 0].astype(dtype)
    values = np.ascontiguousarray(rows).view(stored_type)
    if predictor == 1:
        return values.astype(dtype, copy=False)
    if predictor != 2:
        raise InputError("unsupported", f"a TIFF with predictor {predictor}, {ADVICE}")
    unsigned = np.dtype(f"u{dtype.itemsize}")
    steps = values.view(unsigned.newbyteorder(directory.order)).astype(unsigned)
    return np.cumsum(steps.reshape(*rows.shape[:2], -1, bands), axis=2, dtype=unsigned).view(dtype)


def _unmultiplied(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by their opacity, without it."""
    top = float(np.iinfo(colours.dtype).max) if colours.dtype.kind in "iu" else 1.0
    share = alpha[..., None].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        whole = np.where(share > 0, colours * (top / share), colours)
    if colours.dtype.kind in "iu":
        return np.rint(whole).clip(0, top).astype(colours.dtype)
    return whole.astype(colours.dtype)


def _opacity(alpha: np.ndarray) -> np.ndarray | None:
    """uint8 [H, W], or None where all is opaque."""
    if alpha.dtype.kind == "f":
        eight = np.rint(np.nan_to_num(alpha.astype(np.float64), posinf=1).clip(0, 1) * 255).astype(np.uint8)
    else:
        eight = (alpha >> (8 * (alpha.dtype.itemsize - 1))).astype(np.uint8)
    return None if eight.min() == 255 else eight


def _nodata(directory: Directory) -> float | None:
    """GDAL's value for "not measured"."""
    try:
        return float(directory.text(tiff.GDAL_NODATA))
    except ValueError:
        return None
