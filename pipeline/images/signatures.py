"""Formats that are known and not read, by how their files begin: a refusal that names them helps."""

import re

from recast.pipeline.input_errors import InputError

READ = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"DDS ": "DDS",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\0\0\1\0": "ICO",
}  # fmt: skip
"""Formats that are read: a file that begins so and can't be opened is a damaged one."""

_RAW = {
    b"IIU\0": "Panasonic RW2", b"IIRO": "Olympus ORF", b"IIRS": "Olympus ORF", b"MMOR": "Olympus ORF",
    b"FUJIFILMCCD-RAW": "Fujifilm RAF", b"FOVb": "Sigma X3F", b"\0MRM": "Minolta MRW", b"ARRI": "ARRIRAW",
}  # fmt: skip
_IMAGES = {
    b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL", b"8BPS": "Photoshop PSD", b"v/1\1": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR", b"#?RGBE": "Radiance HDR", b"gimp xcf": "GIMP XCF", b"AT&TFORM": "DjVu",
    b"II\xbc\1": "JPEG XR", b"FLIF": "FLIF", b"BPG\xfb": "BPG", b"qoif": "QOI", b"icns": "Apple ICNS",
    b"\1\xda\0": "SGI", b"\1\xda\1": "SGI", b"\x59\xa6\x6a\x95": "Sun raster", b"PF\n": "PFM in colour",
    b"P7\n": "PAM", b"farbfeld": "farbfeld", b"SIMPLE  =": "FITS", b"ZISRAWFILE": "Zeiss CZI", b"NRRD": "NRRD",
    b"\xd7\xcd\xc6\x9a": "WMF", b"\xabKTX 11\xbb": "KTX", b"\xabKTX 20\xbb": "KTX",
}  # fmt: skip
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\7": "a RAR archive", b"\x1f\x8b": "gzip-compressed",
    b"PK\3\4": "a zip archive", b"PK\5\6": "an empty zip archive", b"\xfd7zXZ\0": "xz-compressed",
    b"BZh": "bzip2-compressed", b"\x28\xb5\x2f\xfd": "zstd-compressed", b"MSCF": "a cabinet archive",
    b"%PDF": "a PDF", b"%!PS": "PostScript", b"\xc5\xd0\xd3\xc6": "PostScript",
    b"\x1a\x45\xdf\xa3": "a Matroska or WebM film", b"\0\0\1\xba": "an MPEG film",
    b"FLV\1": "a Flash film", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a Windows Media film",
    b"ID3": "an MP3 recording", b"OggS": "an Ogg recording or film", b"fLaC": "a FLAC recording",
    b"\x89HDF\r\n\x1a\n": "HDF5", b"\x93NUMPY": "a NumPy array", b"SQLite format 3\0": "an SQLite database",
    b"PAR1": "a Parquet table", b"version https://git-lfs": "a Git LFS pointer, not the file",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Microsoft Office file or Thumbs.db",
}  # fmt: skip
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_TEXT = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,500}?-->\s*)?<(?:!DOCTYPE\s+)?(svg|html)\b", re.I | re.S
)
ADVICE = "which is not read; convert it first"


def refuse_unread(data: bytes) -> None:
    """Say what a file is, if it is of a known format that is not read.

    Raises:
        InputError: `unsupported` for images, camera raw among them; `not-an-image` for the rest.
    """
    head = data[:600]
    if name := _named(head, _RAW) or ("Canon CR3" if head[4:12] == b"ftypcrx " else ""):
        raise camera_raw(name)
    if head[6:14] == b"HEAPCCDR":
        raise camera_raw("Canon CRW")
    if name := _named(head, _IMAGES) or _image_further_in(head):
        raise InputError("unsupported", f"{name}, {ADVICE}")
    if name := _named(head, _OTHERS) or _other_further_in(head):
        raise InputError(
            "not-an-image", name if name.endswith("not the file") else f"{name}, which is not read as an image"
        )


def camera_raw(name: str) -> InputError:
    return InputError("unsupported", f"camera raw ({name}), {ADVICE}, to TIFF or JPEG")


def unopened(data: bytes) -> InputError:
    """Why a file is refused that no decoder claims and that is of no known other format."""
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return InputError("corrupt", "the AVIF image can't be read: its header is damaged, or this Pillow has no AVIF")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return InputError("corrupt", "the WebP image can't be read: its header is damaged")
    if data[:3] == b"\xff\xd8\xff" and (kind := _jpeg_kind(data)):
        return InputError("unsupported", f"{kind}, {ADVICE}")
    if name := _named(data[:16], READ):
        return InputError(
            "not-an-image" if name in ("BMP", "ICO") else "corrupt", f"begins as {name} and can't be read as such"
        )
    return InputError("not-an-image", f"{len(data):,} bytes that no image format claims")


def _named(head: bytes, table: dict[bytes, str]) -> str:
    return next((name for magic, name in table.items() if head.startswith(magic)), "")


def _image_further_in(head: bytes) -> str:
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF and b"avif" not in head[8:40]:
        return "HEIC"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI"
    found = _TEXT.match(head)
    return "SVG" if found and found[1].lower() == b"svg" else ""


def _other_further_in(head: bytes) -> str:
    if head[4:8] == b"ftyp" and head[8:12] not in _HEIF | {b"avif", b"avis"}:
        return "a QuickTime film" if head[8:12] == b"qt  " else "an MP4 film"
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return "a QuickTime film"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        return "an AVI film" if head[8:12] == b"AVI " else "a WAV recording"
    if head[:4] == b"\0\5\x16\7":
        return "macOS's notes on another file (AppleDouble)"
    return "an HTML page" if _TEXT.match(head) else ""


def _jpeg_kind(data: bytes) -> str:
    """What is out of the ordinary in a JPEG file's frame header."""
    at = 2
    while at + 10 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xF7:
            return "JPEG-LS"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                return "lossless JPEG"
            bits, channels = data[at + 4], data[at + 9]
            return f"a JPEG of {bits} bits and {channels} channels" if bits != 8 or channels not in (1, 3, 4) else ""
        at += 2 + max(length, 2)
    return ""
