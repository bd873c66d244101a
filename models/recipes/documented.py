"""What recipes, their settings and their presets mean: the texts that stand in the source, where it states them."""

import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recast.models.recipes import RECIPES
from recast.models.recipes.ranges import Within, ranges


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of a recipe's config."""

    name: str
    meaning: str
    default: Any
    """Its value in the recipe's first preset."""
    choices: tuple[str, ...]
    """What it may be, where that is a few words or numbers; else empty."""
    limits: Within | None
    """What numbers it may be; None where it is none."""


def meaning(recipe: str) -> str:
    """What a recipe is, and the paper it comes from: the text of its module."""
    return inspect.cleandoc(sys.modules[RECIPES[recipe].recipe.__module__].__doc__ or "")


def settings(recipe: str) -> list[Setting]:
    """All settings of a recipe, in the order of its config's fields."""
    entry = RECIPES[recipe]
    texts: dict[str, str] = {}
    for kind in reversed(entry.config.__mro__[:-1]):
        texts |= _below(ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body)  # type: ignore[attr-defined]  # a class's
    kinds, first, limits = typing.get_type_hints(entry.config), next(iter(entry.presets.values())), ranges(entry.config)
    return [
        Setting(
            name=field.name,
            meaning=texts[field.name],
            default=getattr(first, field.name),
            choices=tuple(map(str, typing.get_args(kinds[field.name]))),
            limits=limits.get(field.name),
        )
        for field in dataclasses.fields(entry.config)
    ]


def presets(recipe: str) -> dict[str, str]:
    """What each preset of a recipe is: the text below it in the module that defines it."""
    entry = RECIPES[recipe]
    module = sys.modules[entry.config.__module__]
    texts = _below(ast.parse(inspect.getsource(module)).body)
    constants = {id(value): name for name, value in vars(module).items() if isinstance(value, entry.config)}
    return {name: texts[constants[id(config)]] for name, config in entry.presets.items()}


def _below(statements: Sequence[ast.stmt]) -> dict[str, str]:
    """The texts that stand below assignments, by the names that are assigned, each as one line."""
    found: dict[str, str] = {}
    for statement, text in itertools.pairwise(statements):
        match statement, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str(said))),
            ):
                found[name] = " ".join(said.split())
    return found
