"""Pixels to an image file's bytes, the same bytes for the same pixels."""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from pipeline.images.faults import Fault
from pipeline.images.pictures import Picture

Format = Literal["png", "jpeg", "webp"]
Metadata = Literal["keep", "safe", "strip"]
EXTENSIONS: dict[str, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
MAX_SIDE_PX = {"jpeg": 65_535, "webp": 16_383, "png": 2**31 - 1}


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """How results are written."""

    format: Format = "png"
    quality: int = 92
    """1 to 100, for jpeg and webp."""
    metadata: Metadata = "safe"
    """`keep`: colour profile and EXIF; `safe`: colour profile alone; `strip`: neither."""

    @property
    def extension(self) -> str:
        return EXTENSIONS[self.format]

    def encode(self, picture: Picture) -> bytes:
        """A Picture as an image file. Alpha is kept where the format has it (png, webp), else laid on white.

        Raises:
            Fault: `too-large` for the format; `encoder` where the encoder refuses the image for another reason.
        """
        limit = MAX_SIDE_PX[self.format]
        if max(picture.width, picture.height) > limit:
            raise Fault(
                "too-large", f"{picture.width:,} x {picture.height:,} px; {self.format} holds {limit:,} px a side"
            )
        data = io.BytesIO()
        try:
            self._image(picture).save(data, self.format, **self._options(), **self._carried(picture))
        except (OSError, ValueError) as fault:
            raise Fault("encoder", f"{self.format} can't hold this image: {fault}") from fault
        return data.getvalue()

    def channels(self, picture: Picture) -> int:
        """Channels of the encoded image."""
        alpha = picture.alpha is not None and self.format != "jpeg"
        grey = picture.pixels.shape[2] == 1 and self.format != "webp"
        return (1 if grey else 3) + alpha

    def _image(self, picture: Picture) -> Image.Image:
        pixels, alpha = picture.pixels, picture.alpha
        if alpha is not None and self.format == "jpeg":
            pixels, alpha = _on_white(pixels, alpha), None
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        if alpha is not None:
            image = image.copy()
            image.putalpha(Image.fromarray(alpha))
        return image

    def _options(self) -> dict[str, Any]:
        if self.format == "jpeg":
            return {"quality": self.quality, "subsampling": 0 if self.quality >= 90 else 2}
        if self.format == "webp":
            return {"quality": self.quality, "method": 2}
        return {"compress_level": 1}  # level 6 takes twice the time for some per cent of the bytes

    def _carried(self, picture: Picture) -> dict[str, Any]:
        carried: dict[str, Any] = {}
        if picture.icc and self.metadata != "strip":
            carried["icc_profile"] = picture.icc
        if picture.exif and self.metadata == "keep":
            carried["exif"] = picture.exif
        return carried


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(np.uint16)[..., None]
    return ((pixels * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
