"""Training images with all things in them, by a file of annotations, which decides what images count."""

from recast.models.recipes.truth import Things
from recast.pipeline.reasons import plural
from recast.pipeline.regions.tables import Compared, RegionTable
from recast.pipeline.training.example_files import Listing, images_at
from recast.pipeline.training.layouts import Example
from recast.pipeline.training.settings import TrainingError
from recast.pipeline.training.strays import Strays
from recast.pipeline.training.things import missing, said_of, thing_rows


def listed_things(url: str, table: RegionTable, things: Things, *, output: str = "") -> Listing:
    """The images at a URL that the annotations list, each with its things.

    One without any teaches what is no thing. One that the annotations don't list is left out: nobody says what it
    shows.

    Args:
        output: of the training; what lies below it is left out.

    Raises:
        StorageError: no such place, or no permission.
        TrainingError: no image there has a thing.
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
    left_out = [*said_of(table), *missing(len(compared.unmatched))]
    return Listing(examples=examples, said=(said, *left_out, *strays.said()))
