"""`recast index`: look into an output, check it, take images out of it, tidy it."""

from typing import Annotated

import pydantic
from cyclopts import App, Parameter

from recast.jobs.existing import new_file
from recast.jobs.specs import SpecError, place

index_app = App(name="index", help="Look into an output, check it, and take images out of it.")


@index_app.command(name="summary")
def index_summary(output: str, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Count an output's rows by status, error kind and format."""
    from recast.jobs import index

    return index.summary(place(output), as_json=as_json)


@index_app.command(name="verify")
def index_verify(output: str, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Re-check every image's bytes against its sha256, and every fragment; exit status 1 if anything is wrong."""
    from recast.jobs import index

    return index.check(place(output), as_json=as_json)


@index_app.command(name="get")
def index_get(output: str, key: str, to: str = "-", *, replace: bool = False) -> int:
    """Write the image of KEY to the file TO, or to standard output.

    Parameters
    ----------
    replace
        Write over what is there.
    """
    from recast.jobs import index

    if to != "-":
        new_file(place(to), replace=replace)
    return index.get(place(output), key, to if to == "-" else place(to))


@index_app.command(name="compact")
def index_compact(output: str, *, shard_images: int = 1000, shard_bytes: str = "256MiB") -> int:
    """Merge shards that are under half full, and drop the bytes of superseded images.

    Parameters
    ----------
    shard_images
        The most images of a merged shard.
    shard_bytes
        The most bytes of a merged shard (512MiB, 1GB, …).
    """
    from recast.jobs import index

    try:
        size = int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(shard_bytes))
    except pydantic.ValidationError as fault:
        raise SpecError(f"--shard-bytes must be a size, as 512MiB or 1GB, and it is {shard_bytes!r}") from fault
    return index.compact(place(output), shard_images=shard_images, shard_bytes=size)


@index_app.command(name="extract")
def index_extract(output: str, folder: str, *, replace: bool = False) -> int:
    """Write every image into FOLDER under its key.

    Parameters
    ----------
    replace
        Write over files of FOLDER that have other bytes; those with the same are left alone in any case.
    """
    from recast.jobs import index

    return index.extract(place(output), place(folder), replace=replace)
