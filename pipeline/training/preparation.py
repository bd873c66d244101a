"""All of a training that needs no worker: settings, data, what it is given, and what its output holds already."""

from dataclasses import dataclass, replace
from typing import Any

from recast.models import recipes
from recast.models.networks.vgg import vgg_of
from recast.models.recipes.ranges import SettingError
from recast.models.recipes.recipe import Recipe, RecipeConfig
from recast.models.recipes.truth import Things
from recast.pipeline import storage
from recast.pipeline.reasons import plural
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.training import example_files, validation
from recast.pipeline.training.assets import TrainingAssets, fetched
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.example_files import A_SIDE, Listing
from recast.pipeline.training.layouts import Example, classes
from recast.pipeline.training.listed_things import listed_things
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.spec import Start, placed, resolved, same_data, same_provisions, started
from recast.pipeline.training.things import things_of

WANTED = {
    **dict.fromkeys(("each", "all"), "a table of the faces in the images"),
    "things": "COCO's JSON or a table of the things in the images",
}
"""What annotations must be, by the `regions` of recipes."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training that may begin, or go on."""

    plan: TrainingSpec
    config: RecipeConfig
    start: Start
    listing: Listing
    held_out: tuple[Example, ...]
    """The examples that are validated on."""
    assets: TrainingAssets
    said: tuple[str, ...]
    """Sentences: what was taken for what, and where the training goes on."""

    @property
    def images_per_example(self) -> int:
        return recipes.RECIPES[self.plan.recipe].recipe.images_in(self.config)

    @property
    def each_region(self) -> bool:
        """Whether each region is an example of its own."""
        return recipes.RECIPES[self.plan.recipe].recipe.regions == "each"

    @property
    def run(self) -> dict[str, Any]:
        """The contents of run.json."""
        return self.start.run


def prepared(plan: TrainingSpec) -> Prepared | Start:
    """Everything looked at and fetched; of a training that is finished, only where it ended.

    Raises:
        SettingError: no such recipe, preset or setting, or something that the recipe needs or does not take.
        StorageError: data or output can't be reached.
        TrainingError: unfit data, or an output of another training.
    """
    config, plan = resolved(plan), placed(plan)
    _refuse_useless(plan, config)
    with storage.faults_as_sentences(f"reading {plan.output}"):
        start = started(plan, config, max(Checkpoints(plan.output).steps(), default=0))
    if start.finished:
        return start
    recipe = recipes.RECIPES[plan.recipe].recipe
    table = _annotations(plan)
    things = things_of(table, plan.annotations or "") if table is not None and recipe.regions == "things" else None
    listing = _listed(plan, config, table, things)
    listing, held_out = _held_out(plan, config, listing, table, things)
    start = same_data(start, plan, listing)
    labels = classes(listing.examples) if recipe.labelled else ()
    annotations = {"things" if recipe.regions == "things" else "faces": table.name} if table is not None else {}
    assets = fetched(plan, labels, annotations=annotations, things=things)
    _check_judge(plan, assets, len(held_out))
    start = same_provisions(start, plan, assets.digests)
    built = _built(plan, config, assets)
    if start.changes:
        _fitting(built, plan, start)
    parameters = {name: sum(p.numel() for p in network.parameters()) for name, network in built.networks.items()}
    counts = {"examples": len(listing.examples), "parameters": parameters}
    run = start.run | {"status": "running", "counts": counts, "provisions": dict(assets.digests)}
    run["columns"] = list(recipe.columns)
    return Prepared(
        plan=plan,
        config=config,
        start=replace(start, run=run),
        listing=listing,
        held_out=held_out,
        assets=assets,
        said=(*listing.said, *start.said, *_mixing(built, plan)),
    )


LEAST_LIKE = 2
"""Held-out examples without which no kernel distance is defined."""


def _check_judge(plan: TrainingSpec, assets: TrainingAssets, held_out: int) -> None:
    """Raises SettingError for a loss network that --validate can't measure with, or too few examples for that."""
    if plan.validate is not None and not recipes.RECIPES[plan.recipe].recipe.has_target and held_out < LEAST_LIKE:
        raise SettingError(
            f"--validate {plan.validate} is {plural(held_out, 'example')}; how like others images are takes "
            f"{LEAST_LIKE} or more"
        )
    if plan.validate is not None and assets.assets.loss_network is not None:
        try:
            vgg_of(assets.assets.loss_network)
        except ValueError as fault:
            raise SettingError(f"--loss-network {plan.loss_network}: {fault}") from fault


def _refuse_useless(plan: TrainingSpec, config: RecipeConfig) -> None:
    """Raises SettingError for what the recipe does not take, and for annotations that are missing."""
    recipe = recipes.RECIPES[plan.recipe].recipe
    if plan.inputs and recipe.regions:
        _refuse_inputs(plan, 1)
    if plan.data is None and not (recipe.images_in(config) == 2 and not plan.inputs):
        one = "--input A gives the A sides of the pairs" if plan.inputs else f"{plan.recipe} takes one set of images"
        raise SettingError(f"{one}: give --data in place of --data-a and --data-b")
    if plan.data_a and plan.data_b and plan.data_a.rstrip("/") == plan.data_b.rstrip("/"):
        raise SettingError(f"--data-a and --data-b are one place, {plan.data_a}; A and B must be different images")
    if plan.validate is not None and not (recipe.has_target or recipe.has_like):
        raise SettingError(f"{plan.recipe} has no targets that --validate could compare its images with")
    if plan.validate is not None and not recipe.has_target and not plan.loss_network:
        raise SettingError(
            f"{plan.recipe} has no targets: --validate measures in the features of a --loss-network how like the "
            "images of B those are that it makes; give one"
        )
    for name in ("loss_network", "style_image"):
        judges = name == "loss_network" and plan.validate is not None
        if getattr(plan, name) and name not in recipe.needs and not judges:
            raise SettingError(f"{plan.recipe} does not take --{name.replace('_', '-')}")
    if bool(recipe.regions) != bool(plan.annotations):
        raise SettingError(
            f"{plan.recipe} needs --annotations, {WANTED[recipe.regions]}"
            if recipe.regions
            else f"{plan.recipe} does not take --annotations"
        )
    missing = sorted(name for name in recipe.needs if not getattr(plan, name))
    if missing:
        raise SettingError(f"{plan.recipe} needs --{missing[0].replace('_', '-')}")


def _annotations(plan: TrainingSpec) -> RegionTable | None:
    """What a recipe of annotated images is given; boxes without any area are no things, and refused of faces."""
    regions = recipes.RECIPES[plan.recipe].recipe.regions
    return RegionTable(plan.annotations or "", without_empty=regions == "things") if regions else None


def _listed(plan: TrainingSpec, config: RecipeConfig, table: RegionTable | None, things: Things | None) -> Listing:
    """The examples, with what annotations say of them where they come with some."""
    recipe = recipes.RECIPES[plan.recipe].recipe
    if plan.data is None:
        assert plan.data_a, "a plan without data has both"
        assert plan.data_b, "a plan without data has both"
        return example_files.of_two(plan.data_a, plan.data_b, paired=recipe.paired, output=plan.output)
    if table is None:
        images = recipe.images_in(config)
        if plan.inputs:
            _refuse_inputs(plan, images if recipe.paired else 1)
            return example_files.paired_with(plan.data, plan.inputs[A_SIDE.name], output=plan.output)
        return example_files.listed(
            plan.data, images, paired=recipe.paired, labelled=recipe.labelled, output=plan.output
        )
    if things is not None:
        return listed_things(plan.data, table, things, masks=recipe.masks_in(config), output=plan.output)
    each = recipe.regions == "each"
    return example_files.annotated(plan.data, table, each=each, labelled=recipe.labelled, output=plan.output)


def _held_out(
    plan: TrainingSpec, config: RecipeConfig, listing: Listing, table: RegionTable | None, things: Things | None
) -> tuple[Listing, tuple[Example, ...]]:
    """The examples to train on, and those to validate on."""
    if plan.validate is None:
        return listing, ()
    if (share := plan.validation_share) is not None:
        kept, held = validation.split(listing.examples, share)
        kept = validation.apart(kept, held)  # an image of the smaller domain is in several examples
    else:
        elsewhere = replace(plan, data=plan.validate, data_a=None, data_b=None)
        held = _listed(elsewhere, config, table, things).examples
        kept = validation.apart(listing.examples, held)
    few = validation.few_of(held)
    among = f" of {len(held):,} held out" if len(few) < len(held) else ""
    said = f"training on {len(kept):,} of them, validation on {plural(len(few), 'example')}{among}"
    return Listing(examples=kept, said=(*listing.said, said)), tuple(few)


def _refuse_inputs(plan: TrainingSpec, images: int) -> None:
    """Raises SettingError for inputs that no pair of the recipe has."""
    odd = sorted(plan.inputs.keys() - {A_SIDE.name}) if images == 2 else sorted(plan.inputs)
    if odd:
        takes = f"; it takes {A_SIDE.name}, one side of its pairs" if images == 2 else ""
        raise SettingError(f"{plan.recipe} does not take --input {odd[0]}{takes}")


def _built(plan: TrainingSpec, config: RecipeConfig, assets: TrainingAssets) -> Recipe:
    """The recipe as every worker will build it: what can't be built is found out now."""
    recipe = recipes.build(plan.recipe, config, assets.assets)
    assets.begin(recipe.networks[recipe.exported.name], recipe.exported)
    return recipe


def _mixing(recipe: Recipe, plan: TrainingSpec) -> list[str]:
    """A sentence where an accumulated batch is not what the whole one would be."""
    mixing = recipe.mixing() if plan.accumulate > 1 else []
    if not mixing:
        return []
    return [
        f"with --accumulate {plan.accumulate}, {' and '.join(mixing)} will see a part of a batch at a time: another "
        "computation than with the whole batch at once"
    ]


def _fitting(recipe: Recipe, plan: TrainingSpec, start: Start) -> None:
    """Raises TrainingError if the newest checkpoint is of networks that the changed settings don't make."""
    with storage.faults_as_sentences(f"reading {plan.output}"):
        state = Checkpoints(plan.output).load(start.step)
    for name, network in recipe.networks.items():
        kept = {key: tuple(tensor.shape) for key, tensor in state["networks"].get(name, {}).items()}
        wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        for key in sorted({*kept, *wanted}):
            if kept.get(key) != wanted.get(key):
                there, here = kept.get(key, "missing"), wanted.get(key, "missing")
                raise TrainingError(
                    f"can't resume from step {start.step} with other settings ({', '.join(start.changes)}): they make "
                    f"other networks ({key} of {name} is {there} there, {here} here); choose another --output"
                )
