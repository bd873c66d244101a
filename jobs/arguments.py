"""What the arguments of commands are, explained once for all commands that take them."""

from typing import Annotated

from cyclopts import Parameter

SourceImages = Annotated[
    str,
    Parameter(
        help="The images: a folder, glob, image, tar, zip, Parquet file of images, inventory table or earlier output; "
        "a local path or any fsspec URL, such as s3://bucket/photos."
    ),
]
Results = Annotated[
    str,
    Parameter(
        help="The folder that results go to, a local path or any fsspec URL. Run the same command again to resume: "
        "only new and changed inputs are processed. Where SOURCE is one image and this ends like one, such as "
        "photo-x2.png, just that file is written."
    ),
]
ResultFolder = Annotated[
    str,
    Parameter(
        help="The folder that results go to, a local path or any fsspec URL. Run the same command again to resume: "
        "only new and changed inputs are processed."
    ),
]
BulkOutput = Annotated[str, Parameter(help="The output of a bulk job, a local folder or any fsspec URL.")]
DeidentifiedOutput = Annotated[
    str, Parameter(help="An output of `recast deidentify`, a local folder or any fsspec URL.")
]
BundleFolder = Annotated[
    str,
    Parameter(
        help="A bundle: a folder with bundle.json and weights, local or any fsspec URL; or the name of one that ships "
        "with Recast, upscale-x2 or upscale-x4."
    ),
]
RecipeName = Annotated[
    str,
    Parameter(
        help="The name of a recipe, as `recast models list` shows them; `recast train RECIPE --help` lists its presets "
        "and settings."
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="Print the result as JSON.")]
