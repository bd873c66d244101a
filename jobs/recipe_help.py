"""What `recast train RECIPE --help` shows besides the options: that recipe's presets and settings."""

from collections.abc import Sequence

from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel
from rich.console import Console
from rich.text import Text

from recast.jobs.app import shown_default
from recast.models.recipes import RECIPES, named
from recast.models.recipes.documented import Setting, meaning, presets, settings


def panels(recipe: str) -> list[HelpPanel]:
    """The recipe, its presets and its settings.

    Raises:
        SettingError: there is no such recipe.
    """
    named(RECIPES, recipe, "recipe")
    texts = presets(recipe)
    first = next(iter(texts))
    of_presets = [_entry(f"{name} (default)" if name == first else name, text) for name, text in texts.items()]
    return [
        HelpPanel(
            format="parameter",
            title=f"Presets of {recipe}, for --preset",
            description=Text(f"{meaning(recipe)}\n"),
            entries=of_presets,
        ),
        HelpPanel(
            format="parameter",
            title=f"Settings of {recipe}, for --set KEY=VALUE",
            description=Text(f"The defaults are those of the preset {first}.\n"),
            entries=[_setting(setting) for setting in settings(recipe)],
        ),
    ]


def show(shown: Sequence[HelpPanel]) -> None:
    """Print them on standard output."""
    console, formatter = Console(highlight=False), DefaultFormatter()
    for panel in shown:
        formatter(console, console.options, panel)


def _setting(setting: Setting) -> HelpEntry:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else shown_default(setting.default)
    limits = f" It must be {setting.limits}." if setting.limits else ""
    return _entry(setting.name, setting.meaning + limits, default or "", setting.choices)


def _entry(name: str, text: str, default: str = "", choices: tuple[str, ...] = ()) -> HelpEntry:
    return HelpEntry(positive_names=(name,), description=Text(text), default=default or None, choices=choices or None)
