"""Recipes make examples that are what they say, and steps that learn."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from recast.models import recipes
from recast.models.draws import Rows
from recast.models.looks import Category
from recast.models.networks import NETWORKS
from recast.models.networks.vgg import VGG
from recast.models.preview import sample_grid
from recast.models.recipes import NOTHING
from recast.models.recipes.phases import Part, frozen
from recast.models.recipes.pix2pix import TINY as PIX2PIX
from recast.models.recipes.pix2pix import Pix2Pix
from recast.models.recipes.recipe import RawExample, RecipeAssets
from recast.models.recipes.srresnet import TINY as SRRESNET
from recast.models.recipes.srresnet import SRResNet
from recast.models.recipes.truth import Things
from recast.models.recipes.windows import Silhouette

THINGS = Things(
    categories=(Category(id=1, name="person"), Category(id=3, name="car")), points=("nose", "left_eye", "right_eye")
)


def supplies_for(name, classes=3):
    """What any recipe may need, small: a VGG of random weights, a style image, names of classes."""
    torch.manual_seed(7)
    network = VGG(blocks=[[4], [8], [8]], classes=classes)
    return RecipeAssets(
        loss_network=network.state_dict(),
        style_image=photograph(seed=9),
        classes=tuple("abcdefgh"[:classes]),
        things=THINGS,
    )


def region_of(recipe, lower=0.0):
    """A row of annotations as a recipe takes it: a face, or a thing with two visible keypoints."""
    box, points = [30, 30, 80, 90 - lower], np.linspace(40, 80, 10)
    thing = [*box, 1, 40, 42, 2, 70, 44, 1, 0, 0, 0]
    return np.array([thing if recipe.regions == "things" else [*box, *points]], np.float32)


def masks_of(recipe, regions):
    """The upper halves of things that `region_of` gives, where a recipe learns masks."""
    if not recipe.masks_in(recipe.config):
        return None
    sides = [[int(side) for side in row[:4]] for row in regions]
    upper = [np.arange(bottom - top)[:, None] < (bottom - top) // 2 for _, top, _, bottom in sides]
    return tuple(
        Silhouette(pixels=np.repeat(half, right - left, 1), left=left, top=top)
        for half, (left, top, right, _) in zip(upper, sides, strict=True)
    )


def built(name, **overrides):
    """A recipe's least preset, with everything it needs."""
    return recipes.build(name, recipes.configured(name, smallest(name), overrides), supplies_for(name))


def smallest(name):
    """The preset for tests: `least` where `tiny` is one that learns in minutes."""
    return "least" if "least" in recipes.RECIPES[name].presets else "tiny"


class PlainRoad:
    """The least that a recipe's phases need: one process, fp32."""

    def __init__(self, recipe):
        self.recipe, self.updated, self.step_number = recipe, [], 0

    def step(self, batch):
        shares = 1 + max(phase.share for phase in self.recipe.phases())
        size = len(next(iter(batch.values()))) // shares
        self.rows, rows = (Rows(torch.arange(count), count) for count in (size * shares, size))
        batch, scalars = self.recipe.prepared(batch, self), {}
        cuts = [{k: v[n * size : (n + 1) * size] if v.dim() else v for k, v in batch.items()} for n in range(shares)]
        parts = [Part(batch=cut, networks=self.recipe.networks, road=self, rows=rows, together=rows) for cut in cuts]
        for phase in self.recipe.phases():
            with frozen(*(self.recipe.networks[name] for name in phase.fixed)):
                loss, found = phase.loss(parts[phase.share])
                loss.backward()
            self.updated.append(phase.optimizer)
            self.recipe.optimizers[phase.optimizer].step()
            self.recipe.optimizers[phase.optimizer].zero_grad()
            scalars |= found
        return scalars

    def total(self, value):
        return value

    def gathered(self, values, rows):
        return values


def photograph(height=120, width=140, seed=0):
    """Smooth shapes with edges, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width] / 20
    waves = [np.sin(x * (c + 1) + seed) + np.cos(y * (3 - c)) + (np.hypot(x - 3, y - 3) < 2) for c in range(3)]
    return np.clip(np.stack(waves, -1) * 60 + 100, 0, 255).astype(np.uint8)


def batch_of(recipe, images, size, seed=0):
    examples = [recipe.example(RawExample(images, label=n % 3), np.random.default_rng([seed, n])) for n in range(size)]
    return {name: torch.stack([e[name] for e in examples]) for name in examples[0]}


def trained(recipe, batch, steps):
    road = PlainRoad(recipe)
    return road, [{k: v.item() for k, v in road.step(batch).items()} for _ in range(steps)]


@pytest.mark.parametrize("scale", [2, 4])
def test_low_is_high_reduced_by_pillow(scale):
    """srresnet's inputs are what Pillow's bicubic makes of the targets, away from the cut edges up to rounding."""
    recipe = SRResNet(dataclasses.replace(SRRESNET, scale=scale, patch_px=10), NOTHING)
    example = recipe.example(RawExample((photograph(),)), np.random.default_rng(3))
    low, high = (example[name].permute(1, 2, 0).numpy() for name in ("low", "high"))
    assert (low.shape, high.shape) == ((10, 10, 3), (10 * scale, 10 * scale, 3))
    reduced = np.asarray(Image.fromarray(high).resize((10, 10), Image.Resampling.BICUBIC))
    assert np.abs(reduced[2:-2, 2:-2].astype(int) - low[2:-2, 2:-2]).max() <= 2


def test_targets_are_reduced_photographs():
    """At the least reduction srresnet's targets lie on the photograph that Lanczos halves."""
    recipe = SRResNet(dataclasses.replace(SRRESNET, patch_px=26, reduce_to=2.0, recolour=False), NOTHING)
    photo = photograph(120, 120)  # 26 + 4 px of input are 60 px of target: there is only one place to cut
    halved = np.asarray(Image.fromarray(photo).resize((60, 60), Image.Resampling.LANCZOS))[4:-4, 4:-4]
    turned = [np.rot90(m, k) for m in (halved, halved[:, ::-1]) for k in range(4)]
    high = recipe.example(RawExample((photo,)), np.random.default_rng(0))["high"].permute(1, 2, 0).numpy()
    assert any(np.array_equal(high, t) for t in turned)


def test_too_small_photographs_are_refused():
    """A photograph that no patch fits into is refused with its size."""
    with pytest.raises(ValueError, match="it is 20x16 px; patches of 32 px don't fit"):
        SRResNet(SRRESNET, NOTHING).example(RawExample((photograph(16, 20),)), np.random.default_rng(0))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_examples_follow_from_the_generator_alone(name):
    """The same random generator gives the same example, another one another."""
    recipe = built(name)
    images = (photograph(), photograph(seed=1))[: recipe.images_in(recipe.config)]
    regions = region_of(recipe)
    raw = RawExample(images, regions, label=2, masks=masks_of(recipe, regions))
    one, same, other = (recipe.example(raw, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[k].nan_to_num(), same[k].nan_to_num()) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one if k != "faces")
    assert one.get("label") == (2 if recipe.labelled else None)


@pytest.mark.parametrize(("layers", "patch_px"), [(0, 1), (1, 16), (3, 70), (5, 286)])
def test_pix2pix_judges_patches_of_the_papers_sizes(layers, patch_px):
    """One logit hears of exactly so many pixels along a side."""
    D = built("pix2pix", patch_layers=layers, norm="none", ndf=2).networks["D"]
    seen = torch.zeros(1, 6, 320, 320, requires_grad=True)
    logits = D(seen)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert int(seen.grad[0].abs().sum((0, 2)).count_nonzero()) == patch_px


def test_colourising_learns_from_single_photographs():
    """x is the luma of y, G takes one channel, and people see grey beside colours."""
    recipe = built("pix2pix", colourise=True)
    assert (Pix2Pix.images_in(recipe.config), recipe.exported.descriptor.in_channels) == (1, 1)
    batch = batch_of(recipe, (photograph(),), 2)
    weighed = (batch["y"] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    assert (batch["x"].shape, batch["x"].dtype) == ((2, 1, 32, 32), torch.uint8)
    assert (batch["x"] - weighed).abs().max() <= 0.5
    _, scalars = trained(recipe, batch, 2)
    assert set(scalars[0]) >= {"G L1", "D(x)", "D(G(z))"}
    assert sample_grid(recipe.preview(batch, recipe.networks["G"].eval())).size[0] > 3 * 32


def test_srresnet_learns():
    """A few steps on one batch lower the loss and raise PSNR."""
    torch.manual_seed(0)
    recipe = SRResNet(SRRESNET, NOTHING)
    _, scalars = trained(recipe, batch_of(recipe, (photograph(),), 4), 12)
    assert scalars[-1]["G reconstruction"] < 0.9 * scalars[0]["G reconstruction"]
    assert scalars[-1]["PSNR dB"] > scalars[0]["PSNR dB"]


def test_pix2pix_learns():
    """A few steps on one batch lower G's L1 and D's loss; D steps before G, and freezing it leaves no trace."""
    torch.manual_seed(0)
    recipe = Pix2Pix(PIX2PIX, NOTHING)
    road, scalars = trained(recipe, batch_of(recipe, (photograph(), photograph(seed=1)), 2), 12)
    assert road.updated[:2] == ["D", "G"]
    assert scalars[-1]["G L1"] < 0.9 * scalars[0]["G L1"]
    assert scalars[-1]["D real"] + scalars[-1]["D fake"] < scalars[0]["D real"] + scalars[0]["D fake"]
    assert all(p.requires_grad and p.grad is None for p in recipe.networks["D"].parameters())


def test_pix2pix_cuts_pairs_alike():
    """Jitter and mirror treat both images of a pair the same way, in either direction."""
    photo = photograph(64, 64)
    config = dataclasses.replace(PIX2PIX, size_px=32, load_px=48)
    for direction in ("AtoB", "BtoA"):
        recipe = Pix2Pix(dataclasses.replace(config, direction=direction), NOTHING)
        example = recipe.example(RawExample((photo, 255 - photo)), np.random.default_rng(5))
        x, y = example["x"].int(), example["y"].int()
        assert (x + y - 255).abs().max() <= 2
        dark = photo.mean() < 128
        assert (x.float().mean() < y.float().mean()) == (dark == (direction == "AtoB"))


def test_preview_is_input_output_target():
    """The sample grid has a row per sample and three columns of one size."""
    recipe = SRResNet(SRRESNET, NOTHING)
    preview = recipe.preview(batch_of(recipe, (photograph(),), 3), recipe.networks["G"])
    side = SRRESNET.patch_px * SRRESNET.scale
    assert preview.input.shape[2] == SRRESNET.patch_px
    assert sample_grid(preview).size == (3 * side + 2 * 4, 3 * side + 2 * 4)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_generators_take_images_as_large_as_those_they_learned_from(name):
    """Padding would show a U-Net's bottleneck something else than it was trained on."""
    for preset in recipes.RECIPES[name].presets:
        config = recipes.configured(name, preset, {})
        descriptor = recipes.build(name, config, supplies_for(name)).exported.descriptor
        assert config.size_px % descriptor.size_multiple == 0
        assert config.size_px >= descriptor.min_size_px


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_product_builds_the_generator(name):
    """What a bundle will say of the exported network builds a network that its weights fit."""
    from recast.models.networks import NETWORKS

    recipe = built(name)
    exported = recipe.exported
    NETWORKS[exported.network](**exported.arguments).load_state_dict(recipe.networks[exported.name].state_dict())


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_learning_rate_ends_near_zero(name):
    """Schedules fall from 1 towards 0; gan and style_transfer keep the rate, srgan drops it to a tenth, as their papers
    have it."""
    recipe = built(name, steps=100)
    factors = [recipe.lr_factor(s) for s in range(100)]
    assert max(factors) == pytest.approx(1, abs=0.02)
    last = {"gan": 1, "cgan": 1, "style_transfer": 1, "srgan": 0.1}.get(name)
    assert (0 <= factors[-1] < 0.05) if last is None else factors[-1] == pytest.approx(last)


def test_overrides_are_read_as_their_fields_types():
    """Text from a command line becomes int, float, bool or one of the allowed words."""
    config = recipes.configured("pix2pix", "tiny", {"ngf": "12", "lambda_l1": "10", "mirror": "no", "norm": "batch"})
    assert (config.ngf, config.lambda_l1, config.mirror, config.norm) == (12, 10.0, False, "batch")
    assert recipes.configured("srresnet", "tiny", {"scale": "4"}).scale == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("gun",),
            r"unknown recipe 'gun'; did you mean gan\? Choose from gan, cgan, pix2pix, cyclegan, srresnet",
        ),
        (("pix2pix", "huge"), "unknown preset of pix2pix 'huge'; choose from paper"),
        (("pix2pix", "tiny", {"ngff": 1}), "unknown setting of pix2pix 'ngff'; did you mean ngf"),
        (("pix2pix", "tiny", {"ngf": "many"}), "ngf is 'many'; it must be of type int"),
        (("pix2pix", "tiny", {"mirror": "perhaps"}), "mirror is 'perhaps'; it must be true or false"),
        (("pix2pix", "tiny", {"norm": "layer"}), "norm is 'layer'; it must be one of batch, instance, none"),
        (("pix2pix", "tiny", {"size_px": 30}), "size_px is 30; with num_downs 3 it must be a multiple of 8"),
        (("srresnet", "tiny", {"steps": 0}), "steps is 0; it must be at least 1"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(arguments, sentence):
    """A wrong name or value is answered with what there is."""
    with pytest.raises(ValueError, match=sentence):
        recipes.configured(*arguments)


def test_settings_are_known_by_their_former_names_too():
    """In --set, and where a bundle of before states its network's arguments."""
    config = recipes.configured("passcode", "least", {"loud": 0.03})
    assert config.payload_std == 0.03
    arguments = {**config.arguments(), "loud": 0.03}
    del arguments["payload_std"]
    assert NETWORKS["face_transformer"](**arguments).payload_std == 0.03
