"""What every recipe is: networks, optimizers, examples and the phases of a step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recast.models.descriptor import Descriptor
from recast.models.faces import FACE_COLUMNS
from recast.models.recipes.phases import Batch, Phase, Road, batch_norms
from recast.models.recipes.ranges import Count, Decay, Positive, check
from recast.models.recipes.truth import Things
from recast.models.recipes.windows import Silhouette


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """What a paper states about any training. Recipes add their own fields.

    Raises:
        SettingError: a value is out of the range that its field declares.
    """

    steps: Count
    """Number of training steps."""
    batch_size: Count
    """Examples in a step, over all workers together."""
    learning_rate: Positive
    """Learning rate of the optimizers at its full height; it falls in the course of the training."""
    ema_decay: Decay = 0.0
    """Decay per step of the moving average of the weights that goes into the bundle; 0: no average is kept."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def shares(self) -> int:
        """How many equal shares a batch is cut into, of which a phase takes one."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The network that a training is for, which goes into the bundle: all that a bundle says besides its weights."""

    name: str
    """Its name in `Recipe.networks`."""
    network: str
    """Its name in `recast.models.networks.NETWORKS`."""
    arguments: Mapping[str, Any]
    """Keyword arguments of that network."""
    descriptor: Descriptor


class RawExample(NamedTuple):
    """An example as it was read, before it is cut and augmented."""

    images: tuple[np.ndarray, ...]
    """uint8 [H, W, 3] each, as many as `Recipe.images_in` says."""
    regions: np.ndarray | None = None
    """What annotations say of its first image, float32 [N, columns]; None without any. Faces: boxes and five points
    (`faces.FACE_COLUMNS`); things: boxes, categories and keypoints (`truth.Things.columns`)."""
    label: int | None = None
    """The number of its class, its place in `RecipeAssets.classes`; None where examples belong to none."""
    masks: tuple[Silhouette | None, ...] | None = None
    """The pixels of each of the regions, None of those of which only the box is known; None as a whole where a recipe
    takes no masks."""


class Preview(NamedTuple):
    """What a person looks at to judge a training: float [N, 3, H, W] in [0, 1] each; sizes may differ."""

    input: Tensor | None
    """None where a generator makes images of nothing but noise."""
    output: Tensor
    target: Tensor | None
    """None where there is none."""
    like: Tensor | None = None
    """Real images of what the output should be like, though not one by one; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class RecipeAssets:
    """What a recipe is given besides examples."""

    loss_network: Mapping[str, Tensor] | None = None
    """Weights of a classifier by their published names, for losses that compare features."""
    style_image: np.ndarray | None = None
    """uint8 [H, W, 3]."""
    classes: tuple[str, ...] = ()
    """Names of the classes that examples are labelled with, in the order of their labels."""
    things: Things | None = None
    """What annotations of things can tell of; there where a recipe's `regions` are things."""

    def columns(self, recipe: "type[Recipe]") -> int:
        """Numbers in each row of `RawExample.regions`; 0 where examples have none."""
        if recipe.regions == "things":
            assert self.things is not None, "a recipe of things is built with them"
            return self.things.columns
        return FACE_COLUMNS if recipe.regions else 0


class Recipe(ABC):
    """Networks, optimizers, losses, and the phases that a step is made of."""

    images_per_example: ClassVar[int]
    """1: single images; 2: pairs, input and target, or an image of each of two domains. Ask `images_in`."""
    paired: ClassVar[bool] = True
    """Whether the images of an example belong together; if not, they are put together anew each time."""
    labelled: ClassVar[bool] = False
    """Whether examples belong to classes, which `RawExample.label` then numbers."""
    regions: ClassVar[Literal["", "each", "all", "things"]] = ""
    """Whether annotations belong to the images: `each` face is an example, its image cut to what is around it; each
    image with `all` of its faces; or each image with all `things` in it, by category, box and keypoints."""
    channels_last: ClassVar[bool] = True
    """Whether its steps are faster with activations pixel by pixel on a CPU, too; on an accelerator they always are."""
    has_target: ClassVar[bool] = False
    """Whether the third image of a preview is what its second should be, so that both can be compared."""
    has_like: ClassVar[bool] = False
    """Whether a preview gives real images that its second should be like."""
    columns: ClassVar[tuple[str, ...]] = ("Input", "Output", "Target")
    """What the columns of a preview show; none where it is nothing but made images."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """The fields of `RecipeAssets` that it can't do without (classes come with `labelled`)."""
    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    exported: Exported
    fixed: Mapping[str, nn.Module] = MappingProxyType({})
    """Networks that never learn. The road brings them to the device; checkpoints are without them."""

    @abstractmethod
    def __init__(self, config: Any, assets: RecipeAssets) -> None:
        """Fresh networks and their optimizers, from the recipe's own kind of config.

        Raises:
            ValueError: supplies that can't be used, in a sentence.
        """

    @abstractmethod
    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """One training example, uint8 [C, H, W] each, from what was read; nothing but `rng` is random.

        Args:
            augment: augment it; not for examples that people look at.

        Raises:
            ValueError: images that can't be used, in a sentence.
        """

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """What a step is made of, in this order; the road runs each over all parts of the batch before the next."""

    def prepared(self, batch: Batch, road: Road) -> Batch:
        """A worker's examples before they are cut into parts, with what must be known of all of them together."""
        return batch

    def mixing(self) -> list[str]:
        """What makes one example's gradient depend on the others, so that an accumulated batch is not the whole one."""
        norms = batch_norms(self.networks)
        return [f"batch norm in {' and '.join(norms)}"] if norms else []

    @classmethod
    def images_in(cls, config: Any) -> int:
        """`images_per_example` under these settings."""
        return cls.images_per_example

    @classmethod
    def masks_in(cls, config: Any) -> bool:
        """Whether it learns from the masks of things under these settings."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """What this process must know to go on, besides networks and optimizers; goes into checkpoints."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Take back what `state_dict` gave, in a new process."""
        assert not state, "a recipe that has a state takes it back"

    @abstractmethod
    def lr_factor(self, step: int) -> float:
        """What learning rates are multiplied by at a step, counted from 0."""

    @abstractmethod
    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """How `generator`, the exported network, does on a batch of examples."""
