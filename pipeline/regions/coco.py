"""COCO's JSON of objects in images, as rows of a table of regions: boxes, masks, keypoints, categories.

`images` have `id`, `file_name` (the key), and perhaps `width` and `height`; `annotations` have `image_id`, and `bbox`
(x, y, width, height), `segmentation` or both, perhaps `category_id`, `keypoints`, `track_id` and `score`; `categories`
have `id` and `name`. A segmentation is a list of polygons, or a run-length encoding, compressed or not, as of crowds
(`iscrowd`), which are one region.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recast.pipeline.regions import masks, polygons
from recast.pipeline.regions.masks import MOST_PIXELS, MaskError

Size = tuple[int, int]
"""Height and width of an image in pixels."""


def is_coco(loaded: Mapping[str, Any]) -> bool:
    """Whether `images` are a list of objects, as no lists of boxes by key are."""
    images = loaded.get("images")
    return (
        "annotations" in loaded
        and isinstance(images, list)
        and all(isinstance(image, dict) and "file_name" in image for image in images)
    )


def rows_of_coco(loaded: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each image, without coordinates, since it was looked at; and one for each annotation, which says
    `where` it is from.

    Raises:
        ValueError: an image or an annotation makes no sense; the message names it.
    """
    images: dict[Any, tuple[str, Size | None]] = {}
    for image in loaded["images"]:
        if "id" not in image:
            raise ValueError(f"the image {image['file_name']} has no id")
        if image["id"] in images:
            raise ValueError(f"two images have the id {image['id']}: {images[image['id']][0]} and {image['file_name']}")
        images[image["id"]] = str(image["file_name"]), _declared(image)
    kinds = _kinds(loaded.get("categories") or ())
    rows = [{"key": name, **_size_columns(size)} for name, size in images.values()]
    for number, annotation in enumerate(loaded["annotations"], 1):
        if not isinstance(annotation, dict) or annotation.get("image_id") not in images:
            known = annotation.get("image_id") if isinstance(annotation, dict) else annotation
            raise ValueError(f"annotation {number} is of image {known}, which images don't list")
        name, size = images[annotation["image_id"]]
        category, where = annotation.get("category_id"), f"annotation {annotation.get('id', number)}, of {name}"
        if kinds and category is not None and category not in kinds:
            raise ValueError(f"{where}: its category_id is {category}, which categories don't list")
        try:
            rows.append({"key": name, "where": where, "kind": kinds.get(category), **_region(annotation, size)})
        except MaskError as fault:
            raise ValueError(f"{where}: {fault}") from fault
    return rows


def _kinds(categories: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Names of categories by their ids. Raises ValueError."""
    for number, category in enumerate(categories, 1):
        if not isinstance(category, dict) or not {"id", "name"} <= category.keys():
            raise ValueError(f"category {number} has no id or no name")
    return {category["id"]: category["name"] for category in categories}


def _region(annotation: Mapping[str, Any], size: Size | None) -> dict[str, Any]:
    """The columns of one annotation. Raises MaskError."""
    bbox, segmentation = annotation.get("bbox"), annotation.get("segmentation")
    if bbox is not None and (not isinstance(bbox, list) or len(bbox) != 4):
        raise MaskError("its bbox is not four numbers")
    if bbox is None and not segmentation:
        raise MaskError("it has neither a bbox of four numbers nor a segmentation")
    box: tuple[float, ...] | None = None
    if bbox is not None:
        left, top, width, height = map(float, bbox)
        box = left, top, left + width, top + height
    mask = None
    if segmentation:
        mask, outer, size = segmented(segmentation, size)
        box = box if mask else _around(box, outer)
    if box is None and mask is None:
        raise MaskError("its segmentation holds no pixel, and it has no bbox")
    return {
        "box": box,
        "mask": mask,
        "points": annotation.get("keypoints"),
        "category": annotation.get("category_id"),
        "track": annotation.get("track_id"),
        "score": annotation.get("score"),
        **_size_columns(size),
    }


def segmented(segmentation: Any, size: Size | None) -> tuple[str | None, tuple[float, ...] | None, Size | None]:
    """A segmentation -> its mask, a box that holds it, and the size of its image, each None where there is none.

    There is no mask where no pixel is inside, as of polygons thinner than a pixel, and none of polygons in an image of
    unknown size: then the box around them is all that is known.

    Raises:
        MaskError: it is no segmentation, or not one of an image of that size.
    """
    if isinstance(segmentation, dict):
        own = _sides(segmentation.get("size"))
        if size is not None and own != size:
            raise MaskError(
                f"its segmentation is of an image of {own[1]} x {own[0]} px, and the image has {size[1]} x {size[0]}"
            )
        counts = segmentation.get("counts")
        mask = masks.checked(counts if isinstance(counts, str) else _compressed(counts), *own)
        box = masks.bounding_box(mask, own[0])
        return (mask if box else None), box, own
    if not isinstance(segmentation, list):
        raise MaskError("its segmentation is neither a list of polygons nor a run-length encoding")
    several = segmentation if isinstance(segmentation[0], list) else [segmentation]
    outer = polygons.bounds(several)
    if size is None:
        return None, outer, None
    mask = polygons.mask_of(several, *size)
    inside = masks.bounding_box(mask, size[0])
    return (mask, inside, size) if inside else (None, _flat(outer), size)


def _compressed(counts: Any) -> str:
    """Lengths of runs -> COCO's compressed string. Raises MaskError."""
    try:
        runs = np.asarray(counts)
    except (ValueError, OverflowError) as fault:
        raise MaskError("its counts are no list of whole numbers") from fault
    if runs.ndim != 1 or not len(runs) or runs.dtype != np.int64:
        raise MaskError("its counts are no list of whole numbers")
    if runs.min() < 0 or runs.max() > MOST_PIXELS:
        raise MaskError("its counts have a run of a negative length, or one longer than any image")
    return masks.compressed(runs)


def _declared(image: Mapping[str, Any]) -> Size | None:
    """The size that an image is said to have."""
    if image.get("height") is None or image.get("width") is None:
        return None
    try:
        return _sides([image["height"], image["width"]])
    except MaskError as fault:
        raise ValueError(f"the image {image['file_name']}: {fault}") from fault


def _sides(size: Any) -> Size:
    """A height and a width. Raises MaskError."""
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise MaskError("its size is not a height and a width in whole pixels")
    if size[0] * size[1] > MOST_PIXELS:
        raise MaskError(f"its size of {size[1]} x {size[0]} px is larger than any image")
    return size[0], size[1]


def _size_columns(size: Size | None) -> dict[str, int]:
    return {} if size is None else {"image_height": size[0], "image_width": size[1]}


def _around(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """The box around both."""
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _flat(outer: tuple[float, float, float, float]) -> tuple[float, ...] | None:
    """The bounds of polygons without a pixel inside, if there is any room between them."""
    return outer if outer[0] < outer[2] and outer[1] < outer[3] else None
