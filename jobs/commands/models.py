"""`recast models`: which bundles and recipes there are, and bundles in and out of other programs."""

from cyclopts import App

from recast.jobs.existing import new_file, new_folder
from recast.jobs.specs import bundle_place, place

models_app = App(name="models", help="Which bundles and recipes there are, and what a bundle says of itself.")


@models_app.command(name="list")
def models_list() -> int:
    """List the shipped bundles and the recipes that train others."""
    from recast.jobs import catalogue

    return catalogue.listing()


@models_app.command(name="show")
def models_show(bundle: str) -> int:
    """Print what a bundle says of itself, its weights checked."""
    from recast.jobs import catalogue

    return catalogue.show(bundle_place(bundle))


@models_app.command(name="import")
def models_import(file: str, bundle: str, *, name: str | None = None, key: str = "", replace: bool = False) -> int:
    """Make a BUNDLE of FILE, another program's generator (.pth or safetensors), recognised by its parameters.

    Parameters
    ----------
    name
        What the bundle is called; by default the file's name.
    key
        Which of a file's entries holds the generator (`params_ema`, `state_dict.netG_A`), where there are several.
    replace
        Write over what is there.
    """
    from recast.jobs import catalogue

    new_folder(place(bundle), replace=replace)
    return catalogue.import_file(place(file), place(bundle), name=name, key=key)


@models_app.command(name="export")
def models_export(bundle: str, file: str, *, replace: bool = False) -> int:
    """Write a bundle's generator to FILE, to run elsewhere: .onnx, .pt2 (torch.export) or .pt (TorchScript).

    The file is run, and its result compared with the bundle's, before it is kept.

    Parameters
    ----------
    replace
        Write over what is there.
    """
    from recast.jobs import catalogue

    new_file(place(file), replace=replace)
    return catalogue.export(bundle_place(bundle), place(file))
