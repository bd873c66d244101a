"""Training examples where they lie: listed, paired, and read and decoded once. Free of torch and of Ray, for speed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast.models.descriptor import NetworkInput
from recast.models.digests import short_digest
from recast.models.faces import FACE_COLUMNS
from recast.pipeline.images.bounds import OWN_MAX_BYTES, OWN_MAX_PIXELS
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import as_rgb8, laid_on
from recast.pipeline.input_errors import InputError
from recast.pipeline.reasons import plural
from recast.pipeline.regions.region import Region
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.sources import inventory
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.input_providers import provider
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.training import layouts
from recast.pipeline.training.layouts import Example, classes
from recast.pipeline.training.settings import TrainingError
from recast.pipeline.training.strays import Strays, images_among
from recast.pipeline.training.things import within

AROUND = 3.0
"""Side of the square around a face that is kept as an example, in longer sides of the face's box."""
TRANSPARENT = "transparent parts are trained on as over white"
LEAST_ASPECT, MOST_ASPECT = 1.8, 2.2
"""Width over height of an image that shows A and B side by side."""
LOOKED_AT = 16
"""Files whose size is looked at before anything starts; the workers look at all."""
A_SIDE = NetworkInput(name="A", kind="image")
"""The side of a pair that a training may be given from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The examples of a training."""

    examples: list[Example]
    said: tuple[str, ...]
    """Sentences: what the images were taken for, and what was left out."""

    @property
    def digest(self) -> str:
        """Digest of the images' names and sizes, wherever they lie."""
        names = sorted({f"{item.key} {item.column} {item.size}" for e in self.examples for item in e.inputs})
        return short_digest("\n".join(names).encode("utf-8", "backslashreplace"))


def listed(
    url: str, images_per_example: int, *, paired: bool = True, labelled: bool = False, output: str = ""
) -> Listing:
    """The examples at a URL, in a fixed order.

    Pairs are files of one name in two folders (`A/` and `B/`, or as `layouts.ACCEPTED` says), rows of a Parquet file
    with two columns of images, or single files that show A and B side by side. Unpaired, two such folders hold the
    images of two domains. Labelled, each folder is a class.

    Args:
        output: of the training; what lies below it is left out.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: there are no images, the pairs don't match, or it isn't clear what belongs together.
    """
    strays = Strays()
    inputs = images_at(url, output, strays)
    layout = layouts.laid_out(inputs, url, images_per_example, paired=paired, labelled=labelled)
    said = list(layout.said)
    if images_per_example == 2 and (single := [e for e in layout.examples if len(e.inputs) == 1]):
        said[-1] += _looked_at(single)
    return Listing(examples=layout.examples, said=(*said, *strays.said()))


def of_two(a: str, b: str, *, paired: bool = True, output: str = "") -> Listing:
    """The pairs or the two domains of images at two URLs: as `listed` of a place where they lay in folders A and B.

    Raises as `listed`.
    """
    strays, inputs = Strays(), list[Input]()
    for side, url in (("A", a), ("B", b)):
        found = images_at(url, output, strays)
        inputs += [dataclasses.replace(item, key=f"{side}/{item.key}") for item in found]
    layout = layouts.laid_out(inputs, f"{a} (A) and {b} (B)", 2, paired=paired, labelled=False)
    return Listing(examples=layout.examples, said=(f"A is {a}, and B is {b}", *layout.said, *strays.said()))


def paired_with(url: str, place: str, *, output: str = "") -> Listing:
    """Pairs whose A sides are the images that an output or a table (`place`) has of the keys of those at a URL.

    Those are the B sides: all images there, or where it has folders of pairs, those in `B`; their keys are with the
    folder or without. Images that lack an A side are left out.

    Raises:
        StorageError, InputsError: no such place, or one that can't give images.
        TrainingError: there are no images, or no A side for any.
    """
    strays = Strays()
    inputs = images_at(url, output, strays)
    layout = layouts.targets(inputs, url)
    a_side = provider(A_SIDE, place)
    by_path = a_side.of([example.inputs[0].key for example in layout.examples])
    by_name = a_side.of([example.key for example in layout.examples])
    places = [(one.given or other.given) for one, other in zip(by_path, by_name, strict=True)]
    examples = [
        dataclasses.replace(example, inputs=(given.place, *example.inputs))
        for example, given in zip(layout.examples, places, strict=True)
        if given is not None and given.place is not None
    ]
    if not examples:
        raise TrainingError(f"{place} has no image of the key of any image at {url}, {layout.examples[0].key} first")
    said = f"{plural(len(examples), 'pair')}: A from {place}, B from {url}"
    if missing := len(layout.examples) - len(examples):
        said += f"; {plural(missing, 'image')} without an A side left out"
    return Listing(examples=examples, said=(*layout.said, said, *strays.said()))


def images_at(url: str, output: str, strays: Strays) -> list[Input]:
    inputs = images_among(
        list(inventory.inventory(inventory.Source(urls=(url,)), PassedOver(by_name=False))), url, output, strays
    )
    if not inputs:
        raise TrainingError(". ".join((f"there are no images at {url}", *strays.said())))
    return inputs


def _looked_at(examples: Sequence[Example]) -> str:
    """The size of a few images that should show A and B side by side. Raises TrainingError if they don't."""
    few = (
        [examples[n * len(examples) // LOOKED_AT] for n in range(LOOKED_AT)] if len(examples) > LOOKED_AT else examples
    )
    sizes: list[str] = []
    unfit: list[str] = []
    for example in few:
        try:
            height, width = _decoded(example.inputs[0])[0].shape[:2]
        except InputError:
            continue  # counted and named with all others that can't be read
        sizes.append(f"{width}x{height}")
        unfit += [] if shows_two(height, width) else [f"{example.key} ({width}x{height})"]
    if unfit:
        raise TrainingError(not_side_by_side(unfit, len(few)))
    return f", e.g. {sizes[0]}" if sizes else ""


def shows_two(height: int, width: int) -> bool:
    """Whether an image of this size may show two side by side."""
    return width % 2 == 0 and LEAST_ASPECT <= width / height <= MOST_ASPECT


def not_side_by_side(unfit: Sequence[str], among: int) -> str:
    """The sentence for images that should show A and B side by side and can't."""
    return (
        f"{len(unfit):,} of {among:,} images are no A|B side by side, for which their width must be even and twice "
        f"their height: {', '.join(unfit[:3])}{' …' if len(unfit) > 3 else ''}. Pairs in files of their own lie in "
        f"{layouts.ACCEPTED}"
    )


def annotated(url: str, table: RegionTable, *, each: bool, labelled: bool = False, output: str = "") -> Listing:
    """The examples at a URL with their regions by a table: one a region, or one an image with all of its own (or none).

    Labelled, each identity is a class.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: the table and the images have no key in common, or an identity is missing.
    """
    strays = Strays()
    inputs = images_at(url, output, strays)
    if not any(table.of(item.key) for item in inputs):
        raise TrainingError(f"no face of the table belongs to an image at {url}; its keys are paths relative to that")
    if not each:
        whole = [Example(key=item.key, inputs=(item,), regions=region_rows(table.of(item.key))) for item in inputs]
        known = sum(len(table.of(item.key)) for item in inputs)
        said = f"{plural(len(whole), 'image')} with {plural(known, 'face')}"
        return Listing(examples=whole, said=(said, *strays.said()))
    found = [
        Example(
            key=f"{item.key} ({n})" if n else item.key,
            inputs=(item,),
            label=face.identity,
            regions=region_rows([face]),
        )
        for item in inputs
        for n, face in enumerate(table.of(item.key))
    ]
    nameless = next((example.key for example in found if labelled and not example.label), None)
    if nameless is not None:
        raise TrainingError(f"the table of faces gives no identity for {nameless}, and this training learns identities")
    without = sum(not table.of(item.key) for item in inputs)
    said = f"{plural(len(found), 'face')} of {plural(len(inputs) - without, 'image')}"
    if without:
        said += f"; {plural(without, 'image')} without a face in the table left out"
    return Listing(examples=found, said=(said, *strays.said()))


def rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """What `read_row` reads, one an example; labels are numbered over all of them."""
    labels = {name: number for number, name in enumerate(classes(examples))}
    return [
        {
            "key": e.key,
            "label": labels[e.label],
            "inputs": [dataclasses.asdict(item) for item in e.inputs],
            "regions": b"" if e.regions is None else e.regions.tobytes(),
            "masks": " ".join(e.masks),
            "things": [] if e.drawn_for is None or e.regions is None else [e.regions.shape[1], *e.drawn_for],
        }
        for e in examples
    ]


def read_row(row: dict[str, Any], images_per_example: int, each_region: bool = False) -> dict[str, Any]:
    """Decode a row's images; what can't be decoded becomes a row with a problem, for the workers to count."""
    try:
        decoded = [_decoded(Input(**item)) for item in row["inputs"]]
    except (InputError, FileNotFoundError) as fault:  # it may have gone since it was listed
        return {**_named(row), "shapes": [], "pixels": b"", "problem": str(fault), "notes": [], "unfit": ""}
    images = [pixels for pixels, _ in decoded]
    notes = sorted({note for _, noted in decoded for note in noted})
    unfit = ""
    if images_per_example == 2 and len(images) == 1:
        height, width = images[0].shape[:2]
        unfit = "" if shows_two(height, width) else f"{row['key']} ({width}x{height})"
        images = _halves(images[0])
    regions, masks, problem = np.frombuffer(row["regions"], np.float32), row["masks"].split(), ""
    if each_region:
        images[0], regions = _around(images[0], regions.reshape(-1, FACE_COLUMNS))
    if len(row["things"]):
        columns, *declared = row["things"]
        regions, masks, problem, more = within(regions.reshape(-1, columns), masks, declared, images[0].shape)
        notes += more
    shapes = [list(image.shape) for image in images]
    pixels = b"".join(image.tobytes() for image in images)
    made = {
        "regions": regions.tobytes(),
        "masks": " ".join(masks),
        "shapes": shapes,
        "pixels": pixels,
        "problem": problem,
    }
    return {**_named(row), **made, "notes": notes, "unfit": unfit}


def region_rows(regions: Sequence[Region]) -> np.ndarray:
    """Boxes and landmarks, float32 [N, FACE_COLUMNS], NaN where landmarks aren't known."""
    rows = np.full((len(regions), FACE_COLUMNS), np.nan, np.float32)
    for row, region in zip(rows, regions, strict=True):
        row[:4] = region.box
        row[4 : 4 + len(region.landmarks)] = region.landmarks
    return rows


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("key", "label", "regions", "masks")}


def _around(image: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image around its one region, and the region where it now lies: all that is worth keeping."""
    box = regions[0, :4]
    reach = AROUND / 2 * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[:2] + box[2:]) / 2
    height, width = image.shape[:2]
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = image[top : max(top + 1, min(height, int(y + reach))), left : max(left + 1, min(width, int(x + reach)))]
    corner = np.tile(np.array([left, top], np.float32), FACE_COLUMNS // 2)
    return np.ascontiguousarray(part), regions - corner


def _decoded(item: Input) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 [H, W, 3], and what one should know of it."""
    picture = decode(read(item, OWN_MAX_BYTES), OWN_MAX_PIXELS)
    if picture.alpha is None:
        return as_rgb8(picture.pixels), picture.notes
    return as_rgb8(laid_on(1, picture.pixels, picture.alpha)), (*picture.notes, TRANSPARENT)


def _halves(image: np.ndarray) -> list[np.ndarray]:
    middle = image.shape[1] // 2
    return [np.ascontiguousarray(image[:, :middle]), np.ascontiguousarray(image[:, middle : 2 * middle])]
