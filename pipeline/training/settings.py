"""What is asked of one training: recipe, data, output, and the switches that the road offers to every recipe alike."""

import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.precision import Precision

LARGEST_MULTIPLE = 5040


class TrainingError(Exception):
    """A training that can't go on; the message is a sentence for a person."""

    exit_status = 1


def _named(place: str) -> str:
    if not place.strip():
        raise ValueError("a place can't be empty; is a shell variable unset?")
    return place


Place = Annotated[str, AfterValidator(_named)]
"""A local path or any fsspec URL."""
Count = Annotated[int, Field(ge=1)]
PLACES = ("data", "data_a", "data_b", "validate", "output", "loss_network", "style_image", "annotations", "start_from")
"""Settings that may be local paths."""


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TrainingSettings:
    """What a person may choose for every training. Each field is an option of the command line, under its name, with
    its docstring as help.

    Raises:
        ValidationError: a value is out of its range.
    """

    output: Place
    """Where checkpoints, logs and the bundle go, a local folder or any fsspec URL. Run the same command again to resume
    from the newest checkpoint there."""
    data: Place | None = None
    """The training images: a local folder or any fsspec URL. Pairs and two domains lie there in folders A and B."""
    data_a: Place | None = None
    """With --data-b in place of --data, for recipes that train on pairs or two domains: the images of A, in any folder.
    Those of a pair have the same name in both."""
    data_b: Place | None = None
    """The images of B, in any folder: what A is translated into."""
    validate: Place | None = None
    """Images that are never trained on and measured at each checkpoint: a share of the examples such as 0.1, or a
    folder of others. PSNR and SSIM for recipes with targets, with --loss-network also LPIPS; for cyclegan KID. The best
    network so far, by PSNR or by KID, is in bundle/best."""
    stop_after: Count | None = None
    """Stop when so many checkpoints in a row have not been better than the best before them, as --validate measures."""
    preset: str | None = None
    """A named configuration of the recipe; by default the first that `recast train RECIPE --help` lists, mostly the
    paper's."""
    steps: Count | None = None
    """Number of optimizer steps in all; by default the preset's."""
    on: Literal["ray", "here"] | None = None
    """Where the training runs. ray: by workers on a cluster; here: by one worker in this process. By default one worker
    trains here, unless RAY_ADDRESS names a cluster."""
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    """GPUs for each worker; 0 trains on the CPU."""
    resume_with: bool = False
    """Resume with these settings, though the training was begun with others: another learning rate, precision, seed,
    other data or weights of losses. Settings that shape the networks can't change."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """A number that decides the initial weights, the order of examples, their augmentation and dropout."""
    checkpoint_every: Count = 500
    """Number of steps between checkpoints, each with a bundle; the last step always has one."""
    precision: Precision = "fp32"
    """Number format of the networks' arithmetic (autocast); the weights stay fp32."""
    bundle_precision: Literal["fp32", "fp16"] = "fp32"
    """Number format of the weights in the bundle."""
    loss_network: str | None = None
    """For srgan and style_transfer, and for what --validate measures: VGG16 or VGG19 as published (.pth, .safetensors),
    or a bundle of the classifier recipe."""
    style_image: str | None = None
    """For style_transfer: the image whose style is to be learned."""
    annotations: str | None = None
    """For retinaface, deidentify, passcode and recognizer: a table of the faces in the images (Parquet, CSV, JSON or
    COCO's JSON); it has columns key, left, top, right, bottom (or box), and perhaps landmarks and identity. For
    centernet and mask_rcnn: COCO's JSON of the things in the images, or such a table with the column kind."""
    start_from: str | None = None
    """A bundle whose weights the training begins with: srgan takes srresnet's, and any recipe those of an earlier
    training."""
    sync_batchnorm: bool = False
    """Let batch norms see the examples of all workers, as one process with the whole batch would."""
    compile: bool = False
    """Compile the networks for the device, which takes minutes at the start and makes steps faster; worth it on
    GPUs."""
    accumulate: Count = 1
    """Number of parts that each worker's share of a batch is computed in, to save memory; optimizers step once for all
    parts."""
    keep_checkpoints: Count = 3
    """Number of checkpoints that are kept, the newest ones."""

    @property
    def validation_share(self) -> float | None:
        """The share of the examples that is held out; None where there are other examples to validate on, or none."""
        try:
            return float(self.validate or "")
        except ValueError:
            return None

    @property
    def places(self) -> dict[str, str]:
        """Those of the settings that are places, by name."""
        asked = {name: getattr(self, name) for name in PLACES}
        if self.validation_share is not None:
            del asked["validate"]
        return {name: url for name, url in asked.items() if url is not None}


@documented
@dataclass(frozen=True, kw_only=True, config=CHECKED)
class TrainingSpec(TrainingSettings):
    """One training. Running the same plan again goes on from its newest checkpoint.

    Raises:
        ValidationError: a value is out of its range, or values don't go together.
    """

    recipe: str
    """A name in `recast.models.recipes.RECIPES`."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe's config that differ from the preset; text is read as the field's type."""
    inputs: Mapping[str, Place] = field(default_factory=dict)
    """`A`: the output or table that has the A sides of the pairs, by the keys of the images in `data`."""
    workers: Count = 1
    """Processes that share each batch; with `least_workers`, as many of them as the cluster has room for."""
    least_workers: Count | None = None
    """A training with fewer waits; None: neither fewer nor more than `workers`."""
    threads_per_worker: int | None = None
    """Threads of each worker's tensor operations on a CPU; None: what it has cores for at the start. Kept when a
    run is resumed, for they decide the order of sums, and so the last bits of weights."""
    log_every: Count = 20
    """Steps that one logged line is the mean of."""
    sample_rows: Count = 6
    """Rows of the sample grid."""
    channels_last: bool | None = None
    """Memory layout of activations; None: on accelerators, and on CPUs where the recipe says that it is faster."""
    cache_bytes: Annotated[int, Field(ge=0)] = 4 << 30
    """Decoded images that one worker holds in memory; the rest goes to a scratch file on its disk."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Times in a row that lost workers are replaced without reaching another checkpoint, before the training gives up.
    There is no limit to losses between which it goes on."""

    @classmethod
    def of(cls, settings: TrainingSettings, **rest: Any) -> Self:
        """The training with these settings; `rest` are the other fields."""
        return cls(**{f.name: getattr(settings, f.name) for f in fields(settings)}, **rest)

    def __post_init__(self) -> None:
        if (self.data is None) != all((self.data_a, self.data_b)) or (self.data and (self.data_a or self.data_b)):
            raise ValueError("a training takes its images from --data, or A from --data-a and B from --data-b")
        if self.stop_after and not self.validate:
            raise ValueError("--stop-after goes by what --validate measures; give both")
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise ValueError(f"--validate {self.validate}: a share must be above 0 and below 1; or give a folder")
        if self.least_workers is not None and self.least_workers > self.workers:
            raise ValueError(f"at least {self.least_workers} workers exceed the maximum of {self.workers}")
        if self.on == "here" and self.workers > 1:
            raise ValueError(f"--on here trains with one worker, and --workers asks for {self.workers}")
        if self.sizes_multiple > LARGEST_MULTIPLE:
            raise ValueError(
                f"workers from {self.least_workers} to {self.workers} can't share examples evenly; ask for a narrower "
                "range, or one that begins lower"
            )

    @property
    def sizes_multiple(self) -> int:
        """The least number of examples that any allowed number of workers divides."""
        return math.lcm(*range(self.least_workers or self.workers, self.workers + 1))
