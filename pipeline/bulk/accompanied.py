"""A picture with what else a network takes with it, decoded."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from recast.pipeline.images.decode import decode, decode_labels
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.further_inputs import Fetched, about


def accompanied(picture: Picture, further: Iterable[Fetched], max_pixels: int) -> Picture:
    """The picture with its further inputs.

    Raises:
        InputError: what `decode` raises for one of them; `other-size` for one that is not of the picture's size.
    """
    return dataclasses.replace(picture, further=tuple(_decoded(each, picture, max_pixels) for each in further))


def _decoded(each: Fetched, picture: Picture, max_pixels: int) -> Picture | np.ndarray:
    if each.given.place is None:
        return np.array(each.given.numbers, np.float32)
    with about(each.given):
        found = (decode_labels if each.given.kind == "labels" else decode)(each.data, max_pixels)
        if (found.width, found.height) != (picture.width, picture.height):
            raise InputError(
                "other-size",
                f"it has {found.width} x {found.height} px, and the image {picture.width} x {picture.height} px",
            )
    return dataclasses.replace(found, icc=None, exif=None, xmp=None)
