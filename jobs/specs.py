"""The typed specs of jobs: what flags and YAML become, checked before anything starts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter, Token
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, model_validator

from recast.models.shipped import SHIPPED, shipped
from recast.pipeline import storage
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.deidentify.settings import DETECTORS, Deidentification, Policy, Replacement
from recast.pipeline.images.encode import Encoder
from recast.pipeline.sources.inventory import Source

FOLDER = "RECAST_FOLDER"
"""In the environment of a submitted job: the folder it was submitted from."""


def _text(_type: object, tokens: Sequence[Token]) -> str:
    """A flag's text as it stands, for pydantic to read."""
    return tokens[0].value


def _whole(value: object) -> object:
    """A flag's text as a number, where it is one."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class SpecError(Exception):
    """A spec that makes no sense; the message is a sentence for a person."""

    exit_status = 2


class Spec(BaseModel):
    """What every spec is: frozen, complete, without unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _nothing_is_empty(self) -> Self:
        empty = [name for name in type(self).model_fields if getattr(self, name) == ""]
        if empty:
            raise ValueError(f"--{empty[0].replace('_', '-')} can't be empty; is a shell variable unset?")
        return self


class BulkOptions(Spec):
    """Options that every bulk job shares."""

    shard_images: int = Field(1000, ge=1)
    """Close a shard after this many images."""
    shard_bytes: Annotated[ByteSize, Parameter(converter=_text)] = Field(ByteSize(256 << 20), ge=1)
    """Close a shard after this many bytes (512MiB, 1GB, …)."""
    shards: Literal["tar", "parquet"] = "tar"
    """Container of the results: image files in tars, or Parquet files with a column of images."""
    format: Literal["png", "jpeg", "webp"] = "png"
    """Image format of the results."""
    quality: int = Field(92, ge=1, le=100)
    """Of jpeg and webp."""
    metadata: Literal["keep", "safe", "strip"] = "safe"
    """keep: colour profile, EXIF and XMP; safe: colour profile alone; strip: none of them."""
    provenance: Annotated[bool, Parameter(negative="--no-provenance")] = True
    """Mark results as machine-made, in XMP (IPTC's digital source type)."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of this run's inputs that may fail before it exits with 3."""
    max_pixels: int = Field(200_000_000, ge=1)
    """Inputs with more pixels fail as too-large, before they are decoded."""
    replace: bool = False
    """Make an output anew that another bundle or other settings made."""
    retry_failed: bool = False
    """Try inputs again that failed before."""
    prune: bool = False
    """Remove the results of inputs that are gone from the source, their bytes and their rows."""
    actors: int | None = Field(None, ge=1)
    """Worker processes; by default one for each GPU, or for each core where there is none."""
    batch_size: int | None = Field(None, ge=1)
    """Images that go through the network together; by default 1 on CPU and 8 on GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network's arithmetic."""
    also: tuple[str, ...] = ()
    """More sources beside SOURCE; no two inputs may have one key."""
    include: tuple[str, ...] = ()
    """Only inputs whose key matches one of these globs."""
    exclude: tuple[str, ...] = ()
    """No input whose key matches one of these globs."""
    allow_scheme: tuple[str, ...] = ()
    """Kinds of URIs that an inventory may name beside those of its own: s3, https, …; may be given several times."""
    limit: int | None = Field(None, ge=0)
    """Only the first so many inputs."""
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False
    """Print the resolved spec and what would be done; do nothing."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print the result as JSON."""

    def job(
        self, job: Literal["translate", "upscale", "deidentify", "restore"], source: str, output: str, model: str = ""
    ) -> BulkJob:
        """These options with the rest of what a bulk job needs."""
        if self.prune and self.limit is not None:
            raise SpecError("--prune needs all of the source to know what is gone from it; give it without --limit")
        return BulkJob(
            job=job,
            source=Source(
                urls=tuple(map(place, (source, *self.also))),
                include=self.include,
                exclude=self.exclude,
                skip=place(output),
                schemes=_schemes(self.allow_scheme),
            ),
            output=place(output),
            model=bundle_place(model) if model else "",
            encoder=Encoder(
                format=self.format, quality=self.quality, metadata=self.metadata, provenance=self.provenance
            ),
            shards=self.shards,
            shard_images=self.shard_images,
            shard_bytes=int(self.shard_bytes),
            max_pixels=self.max_pixels,
            precision=self.precision,
            device=self.device,
            actors=self.actors,
            batch_size=self.batch_size,
            replace=self.replace,
            retry_failed=self.retry_failed,
            prune=self.prune,
            limit=self.limit,
        )


class TranslateOptions(BulkOptions):
    """Options of `recast translate`."""

    model: str
    """The bundle: a folder with bundle.json and weights, local or any fsspec URL."""
    noise: bool = False
    """Run the generator as pix2pix does (section 3.4): dropout is its noise, other for each image and decided by the
    image's key; batch norm takes the image's own statistics."""


class UpscaleOptions(BulkOptions):
    """Options of `recast upscale`."""

    model: str | None = None
    """The bundle; by default the one for --scale that ships with Recast."""
    scale: Annotated[Literal[2, 4], BeforeValidator(_whole)] = 2
    """Output pixels per input pixel along each side, when no --model is given."""

    def bundle(self) -> str:
        return self.model or str(shipped(f"upscale-x{self.scale}"))


class DeidentifyOptions(BulkOptions):
    """Options of `recast deidentify`."""

    metadata: Literal["safe", "strip"] = "safe"
    """What of the input's metadata goes into the results: its colour profile, or nothing. Never more."""
    method: Literal["solid", "pixelate", "blur"] = "solid"
    """What stands where a region was: black, a few blocks, or a blur."""
    strength: float = Field(1.0, ge=1, le=4)
    """Of pixelate and blur: 1 leaves 4 blocks along a region's longer side, or blurs by a quarter of it; 2 is twice as
    strong."""
    shape: Literal["auto", "ellipse", "box"] = "auto"
    """What is replaced: the ellipse that fills a region and its margin, or all of it; auto: the ellipse for what
    detectors find, all of it for what --boxes names."""
    margin: float = Field(0.3, ge=0, le=4)
    """How much wider and higher than a region, of its own width and height."""
    model: str | None = None
    """A bundle of `recast train deidentify` or `passcode`: faces get new faces; --method is for all other regions."""
    consistent_by: str = "image"
    """With --model: new identities for each image (image), the same ones throughout each folder (folder), or
    throughout what a regular expression finds in the key."""
    detector: tuple[str, ...] = ("centerface",)
    """What looks for faces: centerface, cascades, none, or a bundle of `recast train retinaface`; given several times,
    their finds are joined."""
    scales: tuple[float, ...] = ()
    """Sizes of the image, relative to its own, at which centerface and bundles look; given several times. By default
    those that the image's size and --smallest-face ask for."""
    smallest_face: float = Field(8, ge=6, le=1000)
    """Height in pixels of the smallest face that is found, or its image held. Below 14 an image is looked at so
    enlarged that such a face has 28 px; with 8 that takes some twelve times as long as with 14."""
    mirrored: bool = False
    """Let centerface and bundles look at mirror images, too."""
    boxes: str | None = None
    """A Parquet, CSV or JSON table of further regions: key; left, top, right, bottom (or box) in pixels; perhaps kind,
    score. COCO's JSON is read, too."""
    threshold: float = Field(0.2, gt=0, le=1)
    """Regions of this score or more are replaced."""
    doubt: float = Field(0.15, gt=0, le=1)
    """An image with a region of this score or more, but less than --threshold, is held and not published."""
    most_regions: int = Field(200, ge=1)
    """Images with more are held."""
    policy: Literal["publish", "hold", "sample"] = "publish"
    """What becomes of images in which nothing is found; sample: --sample-share of them are held for review."""
    sample_share: float = Field(0.02, ge=0, le=1)
    """See --policy."""
    seal: bool = False
    """Keep what is replaced, encrypted under a passcode, so that `recast restore` can bring it back."""
    passcode_file: str | None = None
    """For --seal, --model and --keys hmac: a file whose first line is the passcode."""
    passcode_env: str | None = None
    """The name of an environment variable that holds the passcode."""
    keys: Literal["plain", "hmac"] = "plain"
    """What images are called in the output: as in the source, or by a keyed hash that the passcode leads back from."""

    def asked(self) -> Deidentification:
        try:
            return Deidentification(
                detectors=tuple(name if name in DETECTORS else place(name) for name in self.detector),
                scales=self.scales,
                smallest_face=self.smallest_face,
                mirrored=self.mirrored,
                boxes=place(self.boxes) if self.boxes else "",
                model=place(self.model) if self.model else "",
                consistent_by=self.consistent_by,
                seal=self.seal,
                names=self.keys,
                replacement=Replacement(
                    method=self.method, shape=self.shape, margin=self.margin, strength=self.strength
                ),
                policy=Policy(
                    threshold=self.threshold,
                    doubt=min(self.doubt, self.threshold),
                    most_regions=self.most_regions,
                    without=self.policy,
                    sample_share=self.sample_share,
                ),
            )
        except ValueError as fault:
            raise SpecError(str(fault)) from fault


class RestoreOptions(BulkOptions):
    """Options of `recast restore`."""

    format: Literal["png"] = "png"
    """Of the results; lossless, or they would not be exact."""
    provenance: Annotated[bool, Parameter(negative="--no-provenance")] = False
    """Mark results as made by a machine: originals are not."""
    max_failed: float = Field(0.0, ge=0, le=1)
    """Share of inputs that may fail before the exit status becomes 3; a seal that doesn't open is a failure."""
    model: str | None = None
    """The bundle of `recast train passcode` that painted the faces, to bring them back from their pixels; without it,
    what was sealed is brought back, exactly."""
    passcode_file: str | None = None
    """A file whose first line is the passcode."""
    passcode_env: str | None = None
    """The name of an environment variable that holds the passcode."""


class TrainOptions(Spec):
    """Options of `recast train`."""

    data: str
    """The training images: a local folder or any fsspec URL."""
    output: str
    """Where checkpoints, logs and the bundle go; running again goes on from the newest checkpoint there."""
    preset: str | None = None
    """A named configuration of the recipe; by default the paper's."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps in all; by default the preset's."""
    workers: str = Field("1", pattern=r"^\d+(:\d+)?$")
    """Processes that train together (DDP): so many, or from:to as the cluster has room (2:8)."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs for each worker; 0 trains on the CPU."""
    resume_with: bool = False
    """Go on from the newest checkpoint with these settings, though it was begun with others: another learning rate,
    precision, data, seed, weights of losses. What shapes the networks can't change."""
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Decides initial weights, the order of examples and their augmentation."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the networks' arithmetic (autocast)."""
    bundle_precision: Literal["fp32", "fp16"] = "fp32"
    """What the bundle's weights are stored in."""
    loss_network: str | None = None
    """For srgan and style_transfer: VGG16 or VGG19 as published (.pth, .safetensors), or a classifier's bundle."""
    style_image: str | None = None
    """For style_transfer: the image whose style is learned."""
    faces: str | None = None
    """For retinaface, deidentify, passcode, recognizer: a Parquet, CSV or JSON table of the faces in the images: key;
    left, top, right, bottom (or box); perhaps landmarks, identity."""
    start_from: str | None = None
    """Begin with this bundle's weights: srgan with srresnet's, or any training with an earlier one's."""
    sync_batchnorm: bool = False
    """Batch norms see the examples of all workers, as one process with the whole batch would."""
    compile: bool = False
    """Compile the networks for the device: minutes at the start, faster steps from then on. Worth it on GPUs."""
    accumulate: int = Field(1, ge=1)
    """Parts that each worker's share of a batch is computed in, to save memory."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the newest checkpoints to keep."""
    overrides: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """Override one setting of the recipe: key=value; may be given several times."""
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False
    """Look at data, output and all that the recipe needs, and print the resolved spec; train nothing."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print the result as JSON."""

    def worker_range(self) -> tuple[int, int]:
        """The least and the greatest number of workers."""
        least, _, most = self.workers.partition(":")
        return int(least), int(most or least)


def bundle_place(url: str) -> str:
    """Where a bundle lies: `place`, or for the name of a bundle that comes with Recast, the folder of that."""
    here = Path(os.environ.get(FOLDER, "")) / url
    return str(shipped(url)) if url in SHIPPED and not here.exists() else place(url)


def _schemes(names: Sequence[str]) -> tuple[str, ...]:
    """The schemes of --allow-scheme, each of which can be read here."""
    plain = tuple(name.removesuffix("://").removesuffix(":") for name in names)
    for name in plain:
        if name not in storage.PLAIN:
            raise SpecError(f"--allow-scheme {name}: there is no such kind; there are {', '.join(storage.PLAIN)}")
        storage.check_scheme(name)
    return plain


def place(url: str) -> str:
    """A local path made absolute, so that workers elsewhere on this machine find it too; URLs as they are.

    In a submitted job, relative paths are relative to where the person was who submitted it.
    """
    if not url:
        raise SpecError("a place can't be empty; is a shell variable unset?")
    if "://" in url or storage.is_chain(url):
        return url
    return str(Path(os.environ.get(FOLDER, "")).absolute() / Path(url).expanduser())
