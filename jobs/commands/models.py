"""`recast models`: which bundles and recipes there are, and bundles in and out of other programs."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.app import Commands
from recast.jobs.arguments import BundleFolder
from recast.jobs.existing import new_file, new_folder
from recast.jobs.headings import OTHERS
from recast.jobs.specs import bundle_place, place

models_app = Commands(
    name="models", group=OTHERS, help="List bundles and recipes, and exchange bundles with other programs."
)


@models_app.command(name="list")
def models_list() -> int:
    """List the bundles that ship with Recast and the recipes that train others.

    Example: `recast models list`
    """
    from recast.jobs import catalogue

    return catalogue.listing()


@models_app.command(name="show")
def models_show(bundle: BundleFolder) -> int:
    """Check the weights of BUNDLE and print its description as JSON.

    Example: `recast models show upscale-x4`
    """
    from recast.jobs import catalogue

    return catalogue.show(bundle, bundle_place(bundle))


@models_app.command(name="import")
def models_import(
    file: Annotated[str, Parameter(help="The other program's file, local or any fsspec URL.")],
    bundle: Annotated[str, Parameter(help="Where the bundle goes, a local folder or any fsspec URL.")],
    *,
    name: str | None = None,
    key: str = "",
    categories: str = "",
    replace: bool = False,
) -> int:
    """Make a bundle of FILE, another program's network (.pth or safetensors), recognised by its parameters.

    Example: `recast models import RealESRGAN_x4plus.pth bundles/esrgan`

    Parameters
    ----------
    name
        The name that the bundle gives itself; by default the file's.
    key
        The entry of FILE that holds the network, where there are several (`params_ema`, `state_dict.netG_A`).
    categories
        What a network that finds things calls them, in its own order, with commas between: `cat,dog,licence plate`.
    replace
        Write into a folder that holds files already.
    """
    from recast.jobs import catalogue

    new_folder(place(bundle), replace=replace)
    names = tuple(part.strip() for part in categories.split(",")) if categories else ()
    return catalogue.import_file(place(file), place(bundle), name=name, key=key, categories=names)


@models_app.command(name="export")
def models_export(
    bundle: BundleFolder,
    file: Annotated[
        str, Parameter(help="The file to write; its ending is .onnx, .pt2 (torch.export) or .pt (TorchScript).")
    ],
    *,
    replace: bool = False,
) -> int:
    """Write the network of BUNDLE to FILE, to run elsewhere.

    The file is run, and its result compared with the bundle's, before it is kept.

    Example: `recast models export upscale-x4 upscale-x4.onnx`

    Parameters
    ----------
    replace
        Overwrite FILE if it exists.
    """
    from recast.jobs import catalogue

    new_file(place(file), replace=replace)
    return catalogue.export(bundle_place(bundle), place(file))
