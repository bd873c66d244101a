"""What a training needs besides examples, fetched and checked before any worker starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from torch import Tensor, nn

from recast.models import foreign
from recast.models.digests import short_digest
from recast.models.recipes import RECIPES
from recast.models.recipes.recipe import Exported, RecipeAssets
from recast.models.recipes.truth import Things
from recast.pipeline import bundles, storage
from recast.pipeline.bundles import Packed
from recast.pipeline.images.bounds import OWN_MAX_PIXELS
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import as_rgb8, laid_on
from recast.pipeline.input_errors import InputError
from recast.pipeline.training.settings import TrainingError, TrainingSpec


@dataclass(frozen=True, kw_only=True)
class TrainingAssets:
    """What workers are sent once."""

    assets: RecipeAssets
    start_from: Packed | None = None
    """The bundle whose weights the exported network begins with."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digests of the contents, by name: another style image makes another training."""
    judge: str = ""
    """Digest of the loss network, in whose features --validate measures."""

    def begin(self, network: nn.Module, exported: Exported) -> None:
        """Give a fresh network the weights to start from, if there are any. Raises TrainingError if they don't fit."""
        if self.start_from is None:
            return
        described, trained = self.start_from.unpack()
        try:
            if described.network != exported.network:
                raise ValueError(f"it holds the network {described.network}, this recipe trains {exported.network}")
            network.load_state_dict(trained.state_dict())
        except (ValueError, RuntimeError) as fault:
            reason = str(fault).strip().splitlines()[-1].strip()
            raise TrainingError(f"can't start from {self.start_from.url}: {reason}") from fault


def fetched(
    plan: TrainingSpec,
    classes: tuple[str, ...],
    *,
    annotations: Mapping[str, str] = MappingProxyType({}),
    things: Things | None = None,
) -> TrainingAssets:
    """Everything that a plan names.

    Args:
        annotations: what the table of faces or things calls itself, by what it is of.
        things: what annotations of things can tell of.

    Raises:
        BundleError: the loss network or the bundle to start from can't be used.
        StorageError: a place can't be read.
        TrainingError: the style image is none.
    """
    digests = dict(annotations)
    loss_network, style_image, start_from, judge = None, None, None, ""
    if plan.loss_network:
        loss_network, judge = loss_network_weights(plan.loss_network)
        if "loss_network" in RECIPES[plan.recipe].recipe.needs:  # elsewhere it measures, and decides nothing
            digests["loss_network"] = judge
    if plan.style_image:
        style_image, digests["style_image"] = _image(plan.style_image)
    if plan.start_from:
        start_from = bundles.fetch(plan.start_from)
        digests["start_from"] = start_from.unpack()[0].digest
    if classes:
        digests["classes"] = ", ".join(classes)
    assets = RecipeAssets(loss_network=loss_network, style_image=style_image, classes=classes, things=things)
    return TrainingAssets(assets=assets, start_from=start_from, digests=digests, judge=judge)


def loss_network_weights(url: str) -> tuple[Mapping[str, Tensor], str]:
    """A classifier's weights, from a bundle or from a published file."""
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading the loss network {url}"):
        folder = fs.isdir(path)
    if folder:
        packed = bundles.fetch(url)
        return packed.unpack()[1].state_dict(), short_digest(packed.weights)
    data = _bytes(url, "the loss network")
    return foreign.load(data, url), short_digest(data)


def _image(url: str) -> tuple[np.ndarray, str]:
    data = _bytes(url, "the style image")
    try:
        picture = decode(data, OWN_MAX_PIXELS)
    except InputError as fault:
        raise TrainingError(f"the style image {url} can't be used: {fault}") from fault
    shown = picture.pixels if picture.alpha is None else laid_on(1, picture.pixels, picture.alpha)
    return as_rgb8(shown), short_digest(data)


def _bytes(url: str, what: str) -> bytes:
    fs, path = storage.filesystem(url)
    try:
        with storage.faults_as_sentences(f"reading {what} {url}"):
            return storage.read_bytes(fs, path)
    except storage.StorageError as fault:
        if isinstance(fault.__cause__, FileNotFoundError):
            raise TrainingError(f"{what} is not at {url}") from fault
        raise
