"""What is asked of one training: recipe, data, output, and the switches that the road offers to every recipe alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recast.models.recipes.ranges import SettingError
from recast.pipeline.precision import Precision

LARGEST_MULTIPLE = 5040
LARGEST_SEED = 2**63 - 1


class TrainingError(Exception):
    """A training that can't go on; the message is a sentence for a person."""

    exit_status = 1


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """One training. Running the same plan again goes on from its newest checkpoint.

    Raises:
        SettingError: a value is out of its range.
    """

    recipe: str
    """A name in `recast.models.recipes.RECIPES`."""
    data: str
    """Folder, archive or glob of images; a local path or an fsspec URL."""
    output: str
    """Where checkpoints, bundle, logs and run.json go; a local path or an fsspec URL."""
    preset: str = ""
    """A name in the recipe's presets; empty: its first."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe's config that differ from the preset; text is read as the field's type."""
    steps: int | None = None
    """Training steps; None: the preset's."""
    workers: int = 1
    """Processes that share each batch; with `least_workers`, as many of them as the cluster has room for."""
    least_workers: int | None = None
    """A training with fewer waits; None: neither fewer nor more than `workers`."""
    loss_network: str = ""
    """For recipes that compare features: a VGG's published file, or a bundle of the classifier recipe."""
    style_image: str = ""
    """For style transfer."""
    faces: str = ""
    """For recipes that learn from faces: a table of them by image key (see `pipeline.regions.tables`)."""
    start_from: str = ""
    """A bundle whose weights the product begins with."""
    resume_with: bool = False
    """Go on from the newest checkpoint even though settings are others than it was begun with."""
    sync_batchnorm: bool = False
    """Batch norms take the statistics of all workers' examples; else each worker's of its own."""
    threads_per_worker: int | None = None
    """Of each worker's tensor operations on a CPU; None: what it has cores for at the start. Kept when a training goes
    on, for they decide the order of sums, and so the last bits of weights."""
    gpus_per_worker: float = 0.0
    """0: train on CPUs."""
    seed: int = 0
    """Decides initial weights, the order of examples, augmentation and dropout."""
    checkpoint_every: int = 500
    """Steps from one checkpoint (and bundle) to the next; there is always one at the end."""
    keep_checkpoints: int = 3
    """Older ones are deleted."""
    log_every: int = 20
    """Steps that one logged line is the mean of."""
    sample_rows: int = 6
    """Rows of the sample grid."""
    precision: Precision = "fp32"
    """What matrix products are computed in; weights stay fp32."""
    bundle_precision: Literal["fp32", "fp16"] = "fp32"
    """What the bundle's weights are stored in."""
    channels_last: bool | None = None
    """Memory layout of activations; None: on accelerators, and on CPUs where the recipe says that it is faster."""
    compile: bool = False
    """Networks are compiled for the device (torch.compile): minutes at the start, faster steps from then on."""
    accumulate: int = 1
    """Parts that a worker's share of a batch is computed in, to save memory; optimizers step once for all."""
    cache_bytes: int = 4 << 30
    """Decoded images that one worker holds in memory; the rest goes to a scratch file on its disk."""
    max_failures: int = 3
    """Times in a row that lost workers are replaced without reaching another checkpoint, before the training gives up.
    There is no limit to losses between which it goes on."""

    def __post_init__(self) -> None:
        for name in ("workers", "checkpoint_every", "keep_checkpoints", "log_every", "sample_rows", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.least_workers is not None and not 1 <= self.least_workers <= self.workers:
            raise SettingError(f"at least {self.least_workers} workers can't be asked for of at most {self.workers}")
        if self.sizes_multiple > LARGEST_MULTIPLE:
            raise SettingError(
                f"workers from {self.least_workers} to {self.workers} can't share examples evenly; ask for a narrower "
                "range, or one that begins lower"
            )
        if self.steps is not None and self.steps < 1:
            raise SettingError(f"steps is {self.steps}; it must be at least 1")
        if not 0 <= self.gpus_per_worker < math.inf:
            raise SettingError(f"gpus_per_worker is {self.gpus_per_worker}; it must be a number from 0 on")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise SettingError(f"seed is {self.seed}; it must be from 0 to {LARGEST_SEED}")
        if self.cache_bytes < 0 or self.max_failures < 0:
            raise SettingError("cache_bytes and max_failures can't be negative")
        for name in ("data", "output"):
            if not getattr(self, name).strip():
                raise SettingError(f"{name} is empty; it must name a place")

    @property
    def sizes_multiple(self) -> int:
        """The least number of examples that any allowed number of workers divides."""
        return math.lcm(*range(self.least_workers or self.workers, self.workers + 1))
