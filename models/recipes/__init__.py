"""The recipes, by the names that `recast train` calls them, each with its presets."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recast.models.recipes import (
    centernet,
    cgan,
    classifier,
    cyclegan,
    deidentify,
    gan,
    mask_rcnn,
    passcode,
    pix2pix,
    recognizer,
    retinaface,
    srgan,
    srresnet,
    style_transfer,
)
from recast.models.recipes.ranges import SettingError
from recast.models.recipes.recipe import Recipe, RecipeAssets, RecipeConfig

NOTHING = RecipeAssets()
FORMER_NAMES = {"loud": "payload_std"}
"""Settings by the names that they had before; taken for one version."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A recipe and what it can be configured with."""

    recipe: type[Recipe]
    config: type[RecipeConfig]
    presets: Mapping[str, RecipeConfig]
    """Whole configs by name; the first is the default."""


RECIPES: dict[str, Entry] = {
    "gan": Entry(recipe=gan.GAN, config=gan.GANConfig, presets=gan.PRESETS),
    "cgan": Entry(recipe=cgan.CGAN, config=gan.GANConfig, presets=cgan.PRESETS),
    "pix2pix": Entry(recipe=pix2pix.Pix2Pix, config=pix2pix.Pix2PixConfig, presets=pix2pix.PRESETS),
    "cyclegan": Entry(recipe=cyclegan.CycleGAN, config=cyclegan.CycleGANConfig, presets=cyclegan.PRESETS),
    "srresnet": Entry(recipe=srresnet.SRResNet, config=srresnet.SRResNetConfig, presets=srresnet.PRESETS),
    "srgan": Entry(recipe=srgan.SRGAN, config=srgan.SRGANConfig, presets=srgan.PRESETS),
    "style_transfer": Entry(
        recipe=style_transfer.StyleTransfer, config=style_transfer.StyleTransferConfig, presets=style_transfer.PRESETS
    ),
    "classifier": Entry(recipe=classifier.Classifier, config=classifier.ClassifierConfig, presets=classifier.PRESETS),
    "retinaface": Entry(
        recipe=retinaface.FaceDetection, config=retinaface.RetinaFaceConfig, presets=retinaface.PRESETS
    ),
    "centernet": Entry(recipe=centernet.ThingDetection, config=centernet.CenterNetConfig, presets=centernet.PRESETS),
    "mask_rcnn": Entry(
        recipe=mask_rcnn.InstanceSegmentation, config=mask_rcnn.MaskRCNNConfig, presets=mask_rcnn.PRESETS
    ),
    "deidentify": Entry(recipe=deidentify.Deidentify, config=deidentify.DeidentifyConfig, presets=deidentify.PRESETS),
    "passcode": Entry(recipe=passcode.Passcode, config=passcode.PasscodeConfig, presets=passcode.PRESETS),
    "recognizer": Entry(recipe=recognizer.Recognizer, config=recognizer.RecognizerConfig, presets=recognizer.PRESETS),
}


def configured(recipe: str, preset: str = "", overrides: Mapping[str, Any] | None = None) -> RecipeConfig:
    """A preset's config (the first preset's, if none is named) with some fields replaced.

    Raises:
        SettingError: no such recipe, preset or field, or a value that doesn't fit; the message names what there is.
    """
    entry = named(RECIPES, recipe, "recipe")
    start = named(entry.presets, preset or next(iter(entry.presets)), f"preset of {recipe}")
    types = typing.get_type_hints(entry.config)
    overrides = {FORMER_NAMES.get(name, name): value for name, value in (overrides or {}).items()}
    changes = {
        name: _as_type(value, named(types, name, f"setting of {recipe}"), name) for name, value in overrides.items()
    }
    try:
        return dataclasses.replace(start, **changes)
    except ValueError as fault:
        raise SettingError(str(fault)) from fault


def named(table: Mapping[str, Any], name: str, what: str) -> Any:
    """An entry of a table. Raises SettingError if there is none of this name; the message has the nearest ones."""
    if name not in table:
        near = difflib.get_close_matches(name, table, n=2)
        meant = f"did you mean {' or '.join(near)}? Choose from" if near else "choose from"
        raise SettingError(f"unknown {what} {name!r}; {meant} {', '.join(table)}")
    return table[name]


def build(recipe: str, config: RecipeConfig, assets: RecipeAssets = NOTHING) -> Recipe:
    """The recipe with fresh networks.

    Raises:
        SettingError: settings or supplies that can't be used together, or supplies that are missing.
    """
    wanted = RECIPES[recipe].recipe
    missing = sorted(name for name in wanted.needs if getattr(assets, name) is None)
    if missing:
        raise SettingError(f"{recipe} needs --{missing[0].replace('_', '-')}")
    if wanted.regions == "things" and assets.things is None:
        raise SettingError(f"{recipe} needs --annotations, boxes of the things in the images")
    if wanted.labelled and len(assets.classes) < 2:
        raise SettingError(f"{recipe} needs images of at least two classes, in a folder for each")
    try:
        return wanted(config, assets)
    except ValueError as fault:
        raise SettingError(str(fault)) from fault
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError) as fault:
        why = str(fault).partition("\n")[0] or type(fault).__name__
        raise SettingError(f"no networks can be made with these settings of {recipe} ({why})") from fault


def _as_type(value: Any, wanted: Any, name: str) -> Any:
    """A value, perhaps as text from a command line, as a config field's type: int, float, str, bool or a Literal."""
    if typing.get_origin(wanted) is typing.Literal:
        allowed = {str(choice): choice for choice in typing.get_args(wanted)}
        if str(value) not in allowed:
            near = difflib.get_close_matches(str(value), allowed, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}{meant}")
        return allowed[str(value)]
    if wanted is bool:
        return _as_bool(value, name)
    try:
        if wanted is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return wanted(value)
    except (TypeError, ValueError, OverflowError):
        raise SettingError(f"{name} is {value!r}; it must be of type {wanted.__name__}") from None


def _as_bool(value: Any, name: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).lower() not in words:
        raise SettingError(f"{name} is {value!r}; it must be true or false")
    return words[str(value).lower()]
