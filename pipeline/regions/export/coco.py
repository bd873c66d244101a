"""An output's regions as COCO's JSON: annotations of their own, or results for the images of a truth file."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from recast.pipeline import storage
from recast.pipeline.reasons import plural, some, words
from recast.pipeline.regions import masks
from recast.pipeline.regions.coco import is_coco
from recast.pipeline.regions.export.annotated import AnnotatedImage, AnnotatedImages, ExportError
from recast.pipeline.regions.export.categories import numbered_kinds
from recast.pipeline.regions.export.numbers import shortened, shortest
from recast.pipeline.regions.region import Region
from recast.pipeline.regions.tables import UNREADABLE

NAMED = 5
"""Names that a sentence quotes."""
MOST_TRUTH_BYTES = 1 << 30
"""A truth file is read whole; a larger one would take many times its size of memory."""

SIDE_DIGITS = 7
"""Decimals of a side of a box: fewer would move the box's end by what the index tells apart."""


class TruthError(Exception):
    """A truth file that can't be used, in a sentence."""

    exit_status = 2


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The images and categories of a COCO file, by name."""

    url: str
    images: Mapping[str, Any]
    """The id of each image by its `file_name`."""
    categories: Mapping[str, Any]
    """The id of each category by its name."""


@dataclass(kw_only=True)
class _Matched:
    """What a truth file knows of an output, counted."""

    images: int = 0
    unlisted: int = 0
    """Images that it does not list."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Regions of kinds that it does not know."""


def read_truth(url: str) -> Truth:
    """The ids that a COCO file gives to images and categories. Raises as `load_truth`."""
    return load_truth(url)[0]


def load_truth(url: str) -> tuple[Truth, dict[str, Any]]:
    """The ids that a COCO file gives to images and categories; and all that it says.

    Raises:
        TruthError: it can't be read, or is not COCO's; the message says why.
        StorageError: storage fails.
    """
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading the truth {url}"):
        data = storage.read_up_to(fs, path, MOST_TRUTH_BYTES)
        if len(data) > MOST_TRUTH_BYTES:
            raise TruthError(f"the truth {url} has {fs.size(path):,} bytes; {MOST_TRUTH_BYTES:,} is the most")
    try:
        loaded = json.loads(data.decode("utf-8-sig"))
        if not isinstance(loaded, dict) or not is_coco(loaded) or not loaded.get("categories"):
            raise ValueError("it is not COCO's: it needs images with a file_name, annotations, and categories")
        images = _by_name(loaded["images"], "file_name", "images")
        return Truth(url=url, images=images, categories=_by_name(loaded["categories"], "name", "categories")), loaded
    except UNREADABLE as fault:
        raise TruthError(f"the truth {url} can't be used: {words(fault)}") from fault


def _by_name(entries: list[dict[str, Any]], name: str, what: str) -> dict[str, Any]:
    """The id of each entry by its name. Raises ValueError where two have one name or one id."""
    ids = {str(entry[name]): entry["id"] for entry in entries}
    if len(ids) < len(entries) or len(set(ids.values())) < len(entries):
        twice = Counter(str(entry[name]) for entry in entries).most_common(1)[0]
        same = f"{twice[1]} {what} are called {twice[0]}" if twice[1] > 1 else f"two {what} have one id"
        raise ValueError(same)
    return ids


def write_annotations(images: AnnotatedImages, file: IO[str]) -> None:
    """One JSON object with `images`, `annotations` and `categories`."""
    numbers = numbered_kinds(images.kinds)
    file.write('{"images": [')
    _write_list(file, _listed(images))
    file.write('], "annotations": [')
    _write_list(file, _annotations(images, numbers))
    categories = {number: name for (name, _), number in sorted(numbers.items(), key=lambda item: item[1])}
    file.write('], "categories": [')
    _write_list(file, ({"id": number, "name": name} for number, name in categories.items()))
    file.write("]}\n")


def write_results(images: AnnotatedImages, file: IO[str], truth: Truth) -> str:
    """COCO's list of results, for the images of a truth file; returns what the truth does not know, in words.

    Raises:
        ExportError: the truth lists none of the images, or none of the kinds that were looked for.
    """
    kinds, matched = {name for name, _ in images.kinds}, _Matched()
    if kinds and not kinds & set(truth.categories):
        raise ExportError(
            f"none of the kinds that were looked for ({some(sorted(kinds), NAMED)}) is a category of {truth.url} "
            f"({some(sorted(truth.categories), NAMED)})"
        )
    file.write("[")
    _write_list(file, _results(images, truth, matched))
    file.write("]\n")
    if not matched.images:
        raise ExportError(
            f"none of the keys is an image of {truth.url}: a key is {images.images['key'][0]}, and a file_name "
            f"{next(iter(truth.images), 'there is none')}"
        )
    return _left_out(truth, matched)


def _listed(images: AnnotatedImages) -> Iterator[dict[str, Any]]:
    for batch in images.images.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            sides = {"width": row["source_width"], "height": row["source_height"]}
            known = {name: side for name, side in sides.items() if side is not None}
            yield {"id": row["number"], "file_name": row["key"], **known}


def _annotations(images: AnnotatedImages, numbers: Mapping[tuple[str, int | None], int]) -> Iterator[dict[str, Any]]:
    number = 0
    for image in images:
        for region in image.regions:
            number += 1
            category = numbers[region.kind, region.category]
            own = {"id": number, "image_id": image.number, "category_id": category, **_told(image, region)}
            area = masks.area(region.mask) if region.mask else shortest(region.width * region.height)
            seen = {"num_keypoints": sum(v > 0 for v in region.points[2::3])} if region.points else {}
            yield {**own, "area": area, "iscrowd": 0, **seen}


def _results(images: AnnotatedImages, truth: Truth, matched: _Matched) -> Iterator[dict[str, Any]]:
    for image in images:
        if image.key not in truth.images:
            matched.unlisted += 1
            continue
        matched.images += 1
        for region in image.regions:
            if region.kind not in truth.categories:
                matched.unknown[region.kind] += 1
                continue
            place = {"image_id": truth.images[image.key], "category_id": truth.categories[region.kind]}
            yield {**place, **_told(image, region)}


def _told(image: AnnotatedImage, region: Region) -> dict[str, Any]:
    """What annotations and results say alike of a region."""
    left, top, right, bottom = shortened(region.box)
    sides = [round(side, SIDE_DIGITS) for side in (right - left, bottom - top)]
    told: dict[str, Any] = {"bbox": [left, top, *sides], "score": shortest(region.score)}
    if region.mask is not None and image.size is not None:
        told["segmentation"] = {"size": list(image.size), "counts": region.mask}
    if region.points:
        told["keypoints"] = shortened(region.points)
    return told if region.track is None else {**told, "track_id": region.track}


def _write_list(file: IO[str], entries: Iterator[dict[str, Any]]) -> None:
    for number, entry in enumerate(entries):
        file.write((",\n" if number else "\n") + json.dumps(entry))


def _left_out(truth: Truth, matched: _Matched) -> str:
    parts = [f"{plural(matched.unlisted, 'image')} that {truth.url} does not list"] if matched.unlisted else []
    parts += [f"{plural(count, 'region')} of the kind {kind}" for kind, count in sorted(matched.unknown.items())]
    return ", ".join(parts)
