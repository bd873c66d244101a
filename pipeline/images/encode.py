"""Pixels to an image file's bytes, the same bytes for the same pixels."""

import io
from typing import Annotated, Literal

import cv2
import numpy as np
import simplejpeg
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.images.embedded import Embedded, fits_colours, into_jpeg, into_png, with_provenance
from recast.pipeline.images.metadata import exif_of_size
from recast.pipeline.images.pictures import Picture, laid_on
from recast.pipeline.input_errors import InputError

Format = Literal["png", "jpeg", "webp"]
Metadata = Literal["keep", "safe", "strip"]
EXTENSIONS: dict[str, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
MAX_SIDE_PX = {"jpeg": 65_535, "webp": 16_383, "png": 2**31 - 1}
FULL_COLOUR_QUALITY = 90
"""From this JPEG quality on colour is stored as sharp as brightness."""
DARK = 1 << 14
"""A 16-bit image that stays below is hardly to be seen in 8 bits: most likely it has 10, 12 or 14 bits."""
PNG_OPTIONS = [
    cv2.IMWRITE_PNG_COMPRESSION, 1,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG,
]  # fmt: skip
"""On photographs smaller than zlib's level 1, and made in a third of the time."""


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class Encoder:
    """How results are written. Each field is an option of the command line, with its docstring as help."""

    format: Format = "png"
    """Image format of the results."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """Quality of jpeg and webp files, 1 to 100."""
    metadata: Metadata = "safe"
    """What results take over from their inputs. keep: the colour profile, and what of EXIF and XMP is true of the
    result; safe: only the colour profile; strip: nothing."""
    provenance: bool = True
    """Mark results as machine-made in their XMP (IPTC's digital source type)."""

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.format]

    def fitted(self, picture: Picture) -> Picture:
        """The picture at a depth that the format holds: 16 bits in PNG, 8 elsewhere."""
        if picture.pixels.dtype == np.uint8 or self.format == "png":
            return picture
        note, brightest = "reduced to 8 bits from 16", int(picture.pixels.max(initial=0))
        if brightest < DARK:
            note += f" (its brightest value is {brightest:,} of 65,535)"
        return picture.with_pixels((picture.pixels >> 8).astype(np.uint8), picture.alpha, note)

    def encode(self, picture: Picture) -> bytes:
        """A Picture as an image file. Alpha is kept where the format has it (png, webp), else laid on white.

        Raises:
            InputError: `too-large` for the format; `encoder` where the encoder refuses the image for another reason.
        """
        limit = MAX_SIDE_PX[self.format]
        if max(picture.width, picture.height) > limit:
            raise InputError(
                "too-large", f"{picture.width:,} x {picture.height:,} px; {self.format} holds {limit:,} px a side"
            )
        more = self._embedded(picture)
        try:
            if self.format == "jpeg":
                return into_jpeg(self._jpeg(picture), more)
            return into_png(_png(picture), more) if self.format == "png" else self._webp(picture, more)
        except (OSError, ValueError, cv2.error) as fault:
            raise InputError("encoder", f"{self.format} can't hold this image: {fault}") from fault

    def channels(self, picture: Picture) -> int:
        """Channels of the encoded image. Grey with alpha becomes colour with alpha, which every reader knows."""
        return self._colours_written(picture) + self._writes_alpha(picture)

    def _colours_written(self, picture: Picture) -> int:
        """1 or 3"""
        return 1 if picture.pixels.shape[2] == 1 and self.format != "webp" and not self._writes_alpha(picture) else 3

    def _writes_alpha(self, picture: Picture) -> bool:
        return picture.alpha is not None and self.format != "jpeg"

    def _embedded(self, picture: Picture) -> Embedded:
        keep = self.metadata == "keep"
        xmp = picture.xmp if keep else None
        icc = None if self.metadata == "strip" else picture.icc
        return Embedded(
            icc=icc if icc and fits_colours(icc, self._colours_written(picture)) else None,
            exif=exif_of_size(picture.exif, picture.width, picture.height) if keep and picture.exif else None,
            xmp=with_provenance(xmp) if self.provenance else xmp,
        )

    def _jpeg(self, picture: Picture) -> bytes:
        pixels = picture.pixels if picture.alpha is None else laid_on(1, picture.pixels, picture.alpha)
        if pixels.shape[2] == 1:
            return simplejpeg.encode_jpeg(pixels, self.quality, colorspace="GRAY", colorsubsampling="Gray")
        sampling = "444" if self.quality >= FULL_COLOUR_QUALITY else "420"
        return simplejpeg.encode_jpeg(pixels, self.quality, colorsubsampling=sampling, fastdct=False)

    def _webp(self, picture: Picture, more: Embedded) -> bytes:
        data = io.BytesIO()
        carried = {"icc_profile": more.icc, "exif": more.exif, "xmp": more.xmp}
        options = {name: value for name, value in carried.items() if value}
        _colours(picture).save(data, "webp", quality=self.quality, method=2, **options)
        return data.getvalue()


def _png(picture: Picture) -> bytes:
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is not None:
        deep = alpha.astype(np.uint16) * 257 if pixels.dtype == np.uint16 else alpha
        colours = pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)
        pixels = np.dstack([colours[..., ::-1], deep])
    elif pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels, PNG_OPTIONS)[1].tobytes()


def _colours(picture: Picture) -> Image.Image:
    pixels = picture.pixels
    image = Image.fromarray(pixels[..., 0]).convert("RGB") if pixels.shape[2] == 1 else Image.fromarray(pixels)
    if picture.alpha is not None:
        image = image.copy()
        image.putalpha(Image.fromarray(picture.alpha))
    return image
