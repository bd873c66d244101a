"""Every number of every recipe's settings has a range, and what lies outside is refused in a sentence."""

import dataclasses
import math
import typing

import pytest

from recast.models import recipes
from recast.models.recipes.ranges import SettingError, ranges

NUMBERS = [
    (name, field)
    for name, entry in recipes.RECIPES.items()
    for field, kind in typing.get_type_hints(entry.config).items()
    if kind in (int, float)
]


def test_every_number_declares_its_range():
    """A field that is added without one fails here."""
    for name, field in NUMBERS:
        assert field in ranges(recipes.RECIPES[name].config), f"{name}: {field}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e400])
def test_no_number_may_be_nonsense(value):
    """NaN, infinities and negative numbers are refused for each field of each recipe, by its name."""
    for name, field in NUMBERS:
        start = next(iter(recipes.RECIPES[name].presets.values()))
        with pytest.raises(SettingError, match=f"^{field} is .*; it must be "):
            dataclasses.replace(start, **{field: value})
        with pytest.raises(SettingError, match=f"^{field} is "):
            recipes.configured(name, overrides={field: str(value)})


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [
        ("pix2pix", "ngf=0"), ("pix2pix", "ndf=0"), ("pix2pix", "dropout=2"), ("pix2pix", "size_px=0"),
        ("pix2pix", "size_px=-32"), ("pix2pix", "constant_share=2"), ("pix2pix", "patch_layers=-1"),
        ("pix2pix", "batch_size=0"), ("cyclegan", "pool_size=-1"), ("srresnet", "patch_px=0"),
        ("srresnet", "channels=0"), ("srresnet", "reduce_to=0"), ("srresnet", "reduce_from=0"),
        ("srresnet", "reduce_to=0.5"), ("gan", "latent=0"), ("gan", "d_steps=0"), ("classifier", "depth=0"),
        ("classifier", "width=0"), ("srgan", "drops=nan"), ("srgan", "drops=2"), ("passcode", "context=0.5"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(recipe, setting):
    """What used to end in torch's or numpy's traceback."""
    key, _, value = setting.partition("=")
    with pytest.raises(SettingError, match=key):
        recipes.configured(recipe, overrides={key: value})


def test_networks_that_can_not_be_made_are_a_sentence():
    """Whatever torch raises while it builds them."""
    config = recipes.configured("gan", "tiny", {"size_px": "15"})
    with pytest.raises(SettingError, match="size_px|settings of gan"):
        recipes.build("gan", config)


def test_presets_are_within_their_ranges():
    """They are made like any other settings."""
    for entry in recipes.RECIPES.values():
        for preset in entry.presets.values():
            assert dataclasses.replace(preset) == preset
