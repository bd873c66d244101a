"""What an image file holds besides the picture that is taken from it: frames, pages, sizes, gain maps, films."""

import struct
from collections.abc import Iterator

from PIL import Image

MOST_FRAMES = 100_000
"""Frames are counted so far."""
MOST_BLOCKS = 2_000_000
"""Blocks of a GIF are walked so far."""
EXTENSION, IMAGE = 0x21, 0x2C
"""How a GIF's blocks begin."""
SEGMENTS_BYTES = 1 << 22
"""So much of a JPEG is looked through for the segments before its pixels."""
_GAIN_MAPS = (b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1", b"hdrgainmap")
_FILMS = (b"GCamera:MotionPhoto", b"Camera:MotionPhoto", b"GCamera:MicroVideo", b"MotionPhoto_Data")


def first_of(frames: int, *, whole: bool = True) -> str:
    """The note on a file of which the first frame is taken; empty where there is no other."""
    if frames < 2 and whole:
        return ""
    return f"first of {frames} frames" if whole else f"first of at least {frames} frames"


def left_out(image: Image.Image, data: bytes) -> Iterator[str]:
    """Notes on what the file of an opened image holds besides; of TIFF and PNG their own modules know."""
    match image.format:
        case "GIF":
            frames, whole = _gif_frames(data)
            yield first_of(frames, whole=whole)
        case "JPEG" | "MPO":
            yield from _beside_a_jpeg(data)
        case "ICO":
            count = struct.unpack_from("<H", data, 4)[0]
            yield f"the largest of {count} sizes" if count > 1 else ""
        case "DDS":
            yield _dds_layers(data)
        case _:
            yield first_of(getattr(image, "n_frames", 1))


def _gif_frames(data: bytes) -> tuple[int, bool]:
    """Frames of a GIF by its blocks, and whether it was walked to the end."""
    frames, at, inside = 0, 13 + _colour_table_bytes(data[10:11]), False
    for _ in range(MOST_BLOCKS):
        if at >= len(data):
            return max(frames, 1), True
        if inside:
            inside = data[at] != 0
            at += 1 + data[at]
        elif data[at] == EXTENSION:
            at, inside = at + 2, True
        elif data[at] == IMAGE and frames < MOST_FRAMES:
            frames += 1
            at, inside = at + 11 + _colour_table_bytes(data[at + 9 : at + 10]), True
        else:
            return max(frames, 1), data[at] != IMAGE
    return max(frames, 1), False


def _colour_table_bytes(flags: bytes) -> int:
    """Bytes of a colour table, by the flags that announce it."""
    return 3 << (1 + (flags[0] & 7)) if flags and flags[0] & 0x80 else 0


def _beside_a_jpeg(data: bytes) -> Iterator[str]:
    head = bytes(data[:SEGMENTS_BYTES])
    pictures = _multi_picture_count(head)
    if any(mark in head for mark in _GAIN_MAPS):
        yield "its HDR gain map is left out"
        pictures -= 1
    if pictures > 1:
        yield f"first of {pictures} pictures"
    if any(mark in head for mark in _FILMS) or b"MotionPhoto_Data" in data[-(1 << 16) :]:
        yield "the film of a motion photo is left out"


def _multi_picture_count(head: bytes) -> int:
    """Pictures that the multi-picture index of a JPEG lists (CIPA DC-007, 5.2.3)."""
    at = head.find(b"MPF\0")
    while at > 0:
        index = head[at + 4 : at + 4 + 1024]
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
        if order and len(index) >= 10:
            start = struct.unpack_from(order + "I", index, 4)[0]
            entries = struct.unpack_from(order + "H", index, start)[0] if start + 2 <= len(index) else 0
            for n in range(min(entries, 64)):
                place = start + 2 + 12 * n
                if place + 12 > len(index):
                    break
                tag, _, _, value = struct.unpack_from(order + "HHII", index, place)
                if tag == 0xB001:
                    return value
        at = head.find(b"MPF\0", at + 4)
    return 1


def _dds_layers(data: bytes) -> str:
    """Faces of a cube, slices of a volume, or images of an array in a DDS file."""
    if len(data) < 148:
        return ""
    depth, caps = struct.unpack_from("<I", data, 24)[0], struct.unpack_from("<I", data, 112)[0]
    layers = 6 if caps & 0x200 else max(depth, 1) if caps & 0x200000 else 1
    if data[84:88] == b"DX10":
        layers *= max(struct.unpack_from("<I", data, 140)[0], 1)
    return first_of(layers)
