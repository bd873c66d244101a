"""Training images with all things in them, by a file of annotations, which decides what images count."""

from collections.abc import Sequence

from recast.models.recipes.truth import Things
from recast.pipeline.reasons import plural
from recast.pipeline.regions.tables import Compared, RegionTable
from recast.pipeline.training.example_files import Listing, images_at
from recast.pipeline.training.layouts import Example
from recast.pipeline.training.settings import TrainingError
from recast.pipeline.training.strays import Strays
from recast.pipeline.training.things import NO_MASK, missing, said_of, thing_rows


def listed_things(url: str, table: RegionTable, things: Things, *, masks: bool = False, output: str = "") -> Listing:
    """The images at a URL that the annotations list, each with its things.

    One without any teaches what is no thing. One that the annotations don't list is left out: nobody says what it
    shows.

    Args:
        masks: whether the masks of things are wanted, too.
        output: of the training; what lies below it is left out.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: no image there has a thing, or no thing a mask where masks are wanted.
    """
    strays, compared = Strays(), Compared(table)
    inputs = list(compared(images_at(url, output, strays)))
    known = [item for item in inputs if item.key in table]
    rows = {item.key: thing_rows(table.of(item.key), things) for item in known}
    if not any(map(len, rows.values())):
        raise TrainingError(
            f"no thing of the annotations belongs to an image at {url}; their file names are paths relative to that"
        )
    examples = [
        Example(
            key=item.key,
            inputs=(item,),
            regions=rows[item.key],
            masks=tuple(region.mask or NO_MASK for region in table.of(item.key)) if masks else (),
            drawn_for=table.size_of(item.key) or (0, 0),
        )
        for item in known
    ]
    total, negatives = sum(map(len, rows.values())), sum(not len(each) for each in rows.values())
    said = f"{plural(len(examples), 'image')} with {plural(total, 'thing')}"
    if negatives:
        said += f"; {negatives:,} of them without any"
    if others := len(inputs) - len(known):
        said += f"; {plural(others, 'image')} that the annotations don't list left out"
    if masks:
        said += _of_masks(examples, url)
    left_out = [*said_of(table), *missing(len(compared.unmatched))]
    return Listing(examples=examples, said=(said, *left_out, *strays.said()))


def _of_masks(examples: Sequence[Example], url: str) -> str:
    """What is said of things without a mask. Raises TrainingError if none has one."""
    without = sum(mask == NO_MASK for each in examples for mask in each.masks)
    if without == sum(len(each.masks) for each in examples):
        raise TrainingError(f"no thing in the images at {url} has a mask (segmentation) in the annotations")
    return f"; {plural(without, 'thing')} without a mask, of which only the box is learned" if without else ""
