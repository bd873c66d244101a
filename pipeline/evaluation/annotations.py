"""How good annotations are, against a file of what is there: COCO's average precision of boxes, masks and keypoints."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from recast.models.metrics.average_precision import SIGMAS
from recast.pipeline.evaluation.annotation_measures import SIGMA, MaskMeasure, Measure, PointMeasure, Thing
from recast.pipeline.reasons import plural, some, words
from recast.pipeline.regions import masks
from recast.pipeline.regions.coco import rows_of_coco
from recast.pipeline.regions.export.annotated import AnnotatedImages
from recast.pipeline.regions.export.coco import Truth, TruthError, load_truth
from recast.pipeline.regions.region import Region

NAMED = 5
"""Names that a sentence quotes."""


def judged(output: str, truth_url: str) -> dict[str, Any]:
    """The measures of an output's regions against a truth file, and what could not be compared, in words.

    Raises:
        TruthError: the truth can't be used.
        ExportError, StorageError: the output has no regions, or can't be read.
    """
    truth, loaded = load_truth(truth_url)
    things, sizes = _true(truth, loaded)
    images = AnnotatedImages(output)
    measures = _measures(things)
    seen, unlisted, unknown = set[str](), 0, Counter[str]()
    for image in images:
        if image.key not in truth.images:
            unlisted += 1
            continue
        if image.size and sizes.get(image.key) not in (None, image.size):
            high, wide = image.size
            raise TruthError(f"{truth_url}: {image.key} has another size there than the {wide} x {high} px it has")
        seen.add(image.key)
        found: dict[str, list[Thing]] = defaultdict(list)
        for region in image.regions:
            if region.kind in truth.categories:
                found[region.kind].append(_found(region))
            else:
                unknown[region.kind] += 1
        _add(measures, truth, image.key, found, things)
    for key in truth.images.keys() - seen:
        _add(measures, truth, key, {}, things)
    categories = [name for name, _ in sorted(truth.categories.items(), key=lambda item: item[1])]
    return {
        "images": len(truth.images),
        "annotations": sum(len(each) for of in things.values() for each in of.values()),
        **{name: measure.numbers(categories) for name, measure in measures.items()},
        "notes": _notes(images, truth, measures, missing=sorted(truth.images.keys() - seen), unlisted=unlisted,
                        unknown=unknown, kinds={name for name, _ in images.kinds}),
    }  # fmt: skip


Things = Mapping[str, Mapping[str, Sequence[Thing]]]
"""What is there, by the image's name and the category's."""


def _true(truth: Truth, loaded: Mapping[str, Any]) -> tuple[Things, dict[str, tuple[int, int]]]:
    """What a truth file says is there; and the sizes of images, height and width, that it tells. Raises TruthError."""
    try:
        rows = rows_of_coco(loaded)
    except (ValueError, TypeError) as fault:
        raise TruthError(f"the truth {truth.url} can't be used: {words(fault)}") from fault
    known = {row["key"]: (row["image_height"], row["image_width"]) for row in rows if "image_height" in row}
    names, found = {number: name for name, number in truth.categories.items()}, _empty()
    for annotation, row in zip(loaded["annotations"], rows[len(loaded["images"]) :], strict=True):
        if annotation.get("category_id") not in names:
            raise TruthError(f"the truth {truth.url} can't be used: {row['where']}: it has no category_id of the list")
        found[row["key"]][names[annotation["category_id"]]].append(_thing(annotation, row))
    return found, known


def _empty() -> dict[str, dict[str, list[Thing]]]:
    return defaultdict(lambda: defaultdict(list))


def _thing(annotation: Mapping[str, Any], row: Mapping[str, Any]) -> Thing:
    mask, bbox = row.get("mask"), annotation.get("bbox")
    if bbox is None:
        around = row.get("box") or (masks.bounding_box(mask, row["image_height"]) if mask else None)
        left, top, right, bottom = around or (0, 0, 0, 0)
        bbox = [left, top, right - left, bottom - top]
    area = annotation.get("area", masks.area(mask) if mask else bbox[2] * bbox[3])
    return Thing(
        box=(float(bbox[0]), float(bbox[1]), float(bbox[2]), float(bbox[3])),
        area=float(area),
        mask=mask,
        points=tuple(map(float, row.get("points") or ())),
        crowd=bool(annotation.get("iscrowd")),
    )


def _found(region: Region) -> Thing:
    left, top, right, bottom = region.box
    box = left, top, right - left, bottom - top
    return Thing(box=box, area=box[2] * box[3], score=region.score, mask=region.mask, points=region.points)


def _measures(things: Things) -> dict[str, Measure]:
    """Of boxes, and of masks and keypoints where the truth has such."""
    everything = [thing for of in things.values() for some in of.values() for thing in some]
    counts = Counter(len(thing.points) // 3 for thing in everything if thing.points)
    measures: dict[str, Measure] = {"box": Measure()}
    if any(thing.mask for thing in everything):
        measures["mask"] = MaskMeasure()
    if counts:
        measures["points"] = PointMeasure(points=counts.most_common(1)[0][0])
    return measures


def _add(
    measures: Mapping[str, Measure], truth: Truth, key: str, found: Mapping[str, Sequence[Thing]], things: Things
) -> None:
    there = things.get(key, {})
    for category in found.keys() | there.keys():
        for measure in measures.values():
            measure.add(category, truth.images[key], found.get(category, ()), there.get(category, ()))


def _notes(
    images: AnnotatedImages, truth: Truth, measures: Mapping[str, Measure], *, missing: Sequence[str], unlisted: int,
    unknown: Mapping[str, int], kinds: set[str],
) -> list[str]:  # fmt: skip
    """What a reader of the numbers must know."""
    said = []
    if missing:
        said.append(
            f"{plural(len(missing), 'image')} of the truth have no regions in the output and count as images in which "
            f"nothing was found: {some(missing, NAMED)}"
        )
    if unlisted:
        said.append(f"{plural(unlisted, 'image')} of the output that the truth does not list are left out")
    if unknown:
        parts = some([f"{count:,} {kind}" for kind, count in sorted(unknown.items())], NAMED)
        said.append(f"regions of kinds that the truth does not have are left out: {parts}")
    if never := [name for name in truth.categories if name not in kinds]:
        said.append(f"categories that were neither found nor looked for: {some(never, NAMED)}")
    for name, measure in measures.items():
        if measure.left_out:
            said.append(f"{plural(measure.left_out, 'region')} without {_needed(name, measure)} are not in {name}")
    if isinstance(points := measures.get("points"), PointMeasure) and points.points != len(SIGMAS):
        said.append(f"points: each keypoint's sigma is taken as {SIGMA}, since only those of COCO's 17 are known")
    return said + ([f"left out: {left}"] if (left := images.said()) else [])


def _needed(name: str, measure: Measure) -> str:
    return f"{measure.points} keypoints" if isinstance(measure, PointMeasure) else f"a {name}"
