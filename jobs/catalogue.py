"""`recast models`: which bundles and recipes there are, and what a bundle says of itself."""

import json

from models.bundle import to_json
from models.recipes import RECIPES
from models.shipped import SHIPPED, shipped
from pipeline import bundles

DONE = 0


def listing() -> int:
    """The shipped bundles and the recipes that train others."""
    for name in SHIPPED:
        bundle = bundles.describe(str(shipped(name)))
        print(f"bundle {name:12} {bundle.name}, {bundle.descriptor.task} x{bundle.descriptor.scale}, {bundle.digest}")
    for name, entry in RECIPES.items():
        print(f"recipe {name:12} presets: {', '.join(entry.presets)}")
    return DONE


def show(url: str) -> int:
    """What a bundle says of itself, its weights checked."""
    bundle, _ = bundles.fetch(url).unpack()
    print(json.dumps(to_json(bundle), indent=2))
    return DONE
