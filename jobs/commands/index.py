"""`recast index`: look into an output, check it, take images out of it, tidy it."""

from typing import Annotated, Literal

import pydantic
from cyclopts import Parameter

from recast.jobs.app import Commands
from recast.jobs.arguments import BulkOutput, Json
from recast.jobs.existing import new_file, new_folder
from recast.jobs.headings import RESULTS
from recast.jobs.specs import SpecError, place

index_app = Commands(name="index", group=RESULTS, help="Look into an output, check it, and take images out of it.")


@index_app.command(name="summary")
def index_summary(output: BulkOutput, *, as_json: Json = False) -> int:
    """Count the rows of OUTPUT by status, kind of error, and format.

    Example: `recast index summary upscaled/`
    """
    from recast.jobs import index

    return index.summary(place(output), as_json=as_json)


@index_app.command(name="verify")
def index_verify(output: BulkOutput, *, as_json: Json = False) -> int:
    """Check the bytes of every image in OUTPUT against its sha256, and every file of the index.

    The exit status is 1 if anything is wrong.

    Example: `recast index verify upscaled/`
    """
    from recast.jobs import index

    return index.check(place(output), as_json=as_json)


@index_app.command(name="get")
def index_get(output: BulkOutput, key: str, to: str = "-", *, replace: bool = False) -> int:
    """Write one image of OUTPUT to a file or to standard output.

    Example: `recast index get upscaled/ holiday/beach.jpg beach-x4.png`

    Parameters
    ----------
    key
        The image's key: its path relative to the source, with its ending.
    to
        The file to write, or - for standard output.
    replace
        Overwrite the file if it exists.
    """
    from recast.jobs import index

    if to != "-":
        new_file(place(to), replace=replace)
    return index.get(place(output), key, to if to == "-" else place(to))


@index_app.command(name="compact")
def index_compact(output: BulkOutput, *, shard_images: int = 1000, shard_bytes: str = "256MiB") -> int:
    """Merge the shards of OUTPUT that are less than half full, and drop the bytes of superseded images.

    Example: `recast index compact upscaled/`

    Parameters
    ----------
    shard_images
        The largest number of images in a merged shard.
    shard_bytes
        The largest size of a merged shard, such as 512MiB or 1GB.
    """
    from recast.jobs import index

    try:
        size = int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(shard_bytes))
    except pydantic.ValidationError as fault:
        raise SpecError(f"--shard-bytes must be a size, as 512MiB or 1GB, and it is {shard_bytes!r}") from fault
    return index.compact(place(output), shard_images=shard_images, shard_bytes=size)


@index_app.command(name="extract")
def index_extract(output: BulkOutput, folder: str, *, replace: bool = False) -> int:
    """Write every image of OUTPUT into FOLDER, under its key.

    Example: `recast index extract upscaled/ files/`

    Parameters
    ----------
    folder
        Where the files go, a local folder or any fsspec URL.
    replace
        Overwrite files of FOLDER that have other bytes; files with the same bytes are left alone in any case.
    """
    from recast.jobs import index

    return index.extract(place(output), place(folder), replace=replace)


@index_app.command(name="export")
def index_export(
    output: BulkOutput,
    file: Annotated[
        str, Parameter(help="The file to write, local or at any fsspec URL; with --to yolo, the folder to write.")
    ],
    *,
    to: Literal["coco", "csv", "yolo"],
    truth: str | None = None,
    replace: bool = False,
) -> int:
    """Write what was found in the images of OUTPUT, in a format of other programs.

    Failed and held images are left out, and counted. `--boxes` reads the files of coco and csv.

    Example: `recast index export annotated/ annotated.json --to coco`

    Parameters
    ----------
    to
        coco: JSON with images, categories and annotations; csv: a row for each region; yolo: a folder with a file of
        boxes for each image, without scores and masks.
    truth
        A COCO file, whose ids of images and categories the result takes: it is COCO's list of results then, by which
        pycocotools measures it. For --to coco.
    replace
        Overwrite the file if it exists, or write into a folder that holds files.
    """
    from recast.jobs import export

    if truth and to != "coco":
        raise SpecError(f"--truth is for --to coco, whose results have the truth's ids; it is not for {to}")
    (new_folder if to == "yolo" else new_file)(place(file), replace=replace)
    return export.export(place(output), place(file), to, place(truth) if truth else None)
