"""The typed specs of jobs: what flags and YAML become, checked before anything starts."""

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recast.models.shipped import SHIPPED, shipped
from recast.pipeline import storage
from recast.pipeline.bulk.job import BulkJob, BulkSettings, GeneratorSettings
from recast.pipeline.bulk.resized import Target
from recast.pipeline.deidentify.settings import DETECTORS, Deidentification, DeidentifiedEncoder, RestoredEncoder
from recast.pipeline.images.encode import Encoder
from recast.pipeline.perception.operation import Annotation
from recast.pipeline.regions.registry import PROVIDERS
from recast.pipeline.sources.inventory import Selection, Source
from recast.pipeline.training.settings import TrainingSettings

MOST_SHIPPED = 4
"""The greatest scale of the bundles that ship with Recast."""
FOLDER = "RECAST_FOLDER"
"""In the environment of a submitted job: the folder it was submitted from."""


class SpecError(Exception):
    """A spec that makes no sense; the message is a sentence for a person."""

    exit_status = 2


def flag_name(field: str) -> str:
    """What a field of settings is called on the command line; `*` where its own fields are options beside it."""
    return FLAGS.get(field, field.replace("_", "-"))


FLAGS = {
    "detectors": "detector",
    "models": "model",
    "names": "keys",
    "without": "policy",
    "schemes": "allow-scheme",
    "policy": "*",
    "replacement": "*",
}
"""Fields that people know by other names."""
OPTIONS = Parameter(name="*", name_transform=flag_name)
"""Marks settings whose fields are options of the command."""
SWITCHES = Parameter(name="*", name_transform=flag_name, negative=None, negative_bool="no-")
"""The same, and what is on by default has an option that turns it off."""


class Spec(BaseModel):
    """What the options of every command are: frozen, complete, without unknown fields.

    The settings of jobs are fields of it as they are, so that each option is stated once, where it is used.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **more: Any) -> None:
        """Lets help texts flow: a docstring's line breaks are not theirs."""
        for field in cls.model_fields.values():
            field.description = " ".join(field.description.split()) if field.description else None

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, given: Any) -> Any:
        if (empty := _empty(given)) is not None:
            raise ValueError(f"--{flag_name(empty)} can't be empty; is a shell variable unset?")
        return given


def _empty(given: Any) -> str | None:
    """The first field that is given as an empty text."""
    for name, value in given.items() if isinstance(given, dict) else ():
        if value == "":
            return str(name)
        if (empty := _empty(value)) is not None:
            return empty
    return None


class FileOptions(Spec):
    """Options of commands that take a file of options."""

    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None
    """A YAML file of options by their names, such as `scale: 4`; options on the command line override it."""

    @field_validator("config")
    @classmethod
    def _is_read(cls, file: str | None) -> None:
        """What the command line names is read before its options are; what is left stands in such a file."""
        if file is not None:
            raise ValueError("a -c file can't name another one")


class BulkOptions(FileOptions):
    """Options that every bulk job shares."""

    settings: Annotated[BulkSettings, OPTIONS] = BulkSettings()
    """How the job goes about its work."""
    encoder: Annotated[Encoder, SWITCHES] = Encoder()
    """How results are written."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of this run's inputs that may fail; if more fail, the exit status is 3."""
    also: tuple[str, ...] = ()
    """A further source, read like SOURCE; may be given several times. No two inputs may have the same key."""
    selection: Annotated[Selection, OPTIONS] = Selection()
    """Which inputs count."""
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False
    """Print all settings and what would be done, and do nothing."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print the result as JSON."""

    def job(
        self,
        job: str,
        source: str,
        output: str,
        model: str = "",
        making: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> BulkJob:
        """These options with the rest of what a bulk job needs."""
        if self.settings.prune and self.settings.limit is not None:
            raise SpecError("--prune needs all of the source to know what is gone from it; give it without --limit")
        return BulkJob.of(
            self.settings,
            job=job,
            source=Source(
                urls=tuple(map(place, (source, *self.also))),
                include=self.selection.include,
                exclude=self.selection.exclude,
                schemes=_schemes(self.selection.schemes),
                skip=place(output),
            ),
            output=place(output),
            model=bundle_place(model) if model else "",
            inputs=inputs or {},
            making=making or {},
            encoder=self.encoder,
        )


class GeneratorOptions(BulkOptions):
    """Options of jobs that run a bundle's generator."""

    inputs: Annotated[tuple[str, ...], Parameter(name="--input")] = ()
    """NAME=OUTPUT or NAME=TABLE: where a further input of the network comes from, looked up by the images' keys; may be
    given several times."""


class TranslateOptions(GeneratorOptions):
    """Options of `recast translate`."""

    settings: Annotated[GeneratorSettings, OPTIONS] = GeneratorSettings()
    """How the job goes about its work."""
    model: str
    """The bundle: a folder with bundle.json and weights, local or any fsspec URL."""


class UpscaleOptions(GeneratorOptions):
    """Options of `recast upscale`."""

    model: str | None = None
    """The bundle; by default the one that ships with Recast for --scale."""
    scale: float | None = Field(None, gt=1)
    """Output pixels per input pixel along each side, such as 2, 3 or 1.5; by default 2, or the scale of --model. What
    the network enlarges beyond that is reduced."""
    size: Annotated[str | None, Field(pattern=r"^([1-9]\d*x([1-9]\d*)?|x[1-9]\d*)$")] = None
    """Size that results fit within, keeping their shape: WIDTHxHEIGHT, WIDTHx or xHEIGHT in pixels, such as 2048x."""

    @model_validator(mode="after")
    def _one_size_that_can_be_had(self) -> Self:
        if self.scale and self.size:
            raise ValueError(f"--scale {self.scale:g} and --size {self.size} are two sizes; give one of them")
        if self.scale and not self.model and self.scale > MOST_SHIPPED:
            raise ValueError(f"--scale {self.scale:g}: what ships with Recast enlarges {MOST_SHIPPED} times at most")
        return self

    def bundle(self) -> str:
        """The bundle that is needed, or of two the larger."""
        return self.model or str(shipped(f"upscale-x{self._whole_scale()}"))

    def _whole_scale(self) -> int:
        return 2 if not self.size and (self.scale or 2) <= 2 else 4

    def target(self) -> Target | None:
        """What the results are to be reduced to; None where a network's own scale is asked for."""
        if self.size:
            return Target.within(self.size)
        own = MOST_SHIPPED // 2, MOST_SHIPPED
        return Target(scale=self.scale) if self.scale and (self.model or self.scale not in own) else None


class DeidentifyOptions(BulkOptions):
    """Options of `recast deidentify`."""

    encoder: Annotated[DeidentifiedEncoder, SWITCHES] = DeidentifiedEncoder()
    """How results are written."""
    deidentification: Annotated[Deidentification, OPTIONS] = Deidentification()
    """What is looked for, and what becomes of it."""
    preview: int | None = Field(None, ge=1)
    """Try this many images, sampled at random, and write preview.html into OUTPUT, which shows what would be replaced,
    with scores, and what would be held. Nothing else is written."""
    passcode_file: str | None = None
    """A file whose first line is the passcode, which --seal, --model and --keys hmac need."""
    passcode_env: str | None = None
    """The name of an environment variable that holds the passcode."""

    def asked(self) -> Deidentification:
        """What is asked for, its places absolute."""
        asked = self.deidentification
        return dataclasses.replace(
            asked,
            detectors=tuple(name if name in DETECTORS else _place_or_name(name, DETECTORS) for name in asked.detectors),
            boxes=asked.boxes and place(asked.boxes),
            model=asked.model and place(asked.model),
        )


class AnnotateOptions(BulkOptions):
    """Options of `recast annotate`."""

    annotation: Annotated[Annotation, OPTIONS]
    """What looks at the images."""

    def asked(self) -> Annotation:
        """What is asked for, its places absolute."""
        models = (
            name if name in PROVIDERS else _place_or_name(name, tuple(PROVIDERS)) for name in self.annotation.models
        )
        return dataclasses.replace(self.annotation, models=tuple(models))


class RestoreOptions(BulkOptions):
    """Options of `recast restore`."""

    encoder: Annotated[RestoredEncoder, SWITCHES] = RestoredEncoder()
    """How results are written."""
    max_failed: float = Field(0.0, ge=0, le=1)
    """Share of this run's inputs that may fail; if more fail, the exit status is 3. A seal that does not open is a
    failure."""
    model: str | None = None
    """The bundle of `recast train passcode` that painted the faces, to bring them back from their pixels; by default
    sealed regions are brought back exactly."""
    passcode_file: str | None = None
    """A file whose first line is the passcode."""
    passcode_env: str | None = None
    """The name of an environment variable that holds the passcode."""


class TrainOptions(FileOptions):
    """Options of `recast train`."""

    settings: Annotated[TrainingSettings, OPTIONS]
    """What every training may be asked for."""
    faces: str | None = None
    """The former name of --annotations."""
    workers: str = Field("1", pattern=r"^\d+(:\d+)?$")
    """Processes that train together: a number, or a range such as 2:8, of which as many as the cluster has room for."""
    overrides: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """Override one setting of the recipe; may be given several times. `recast train RECIPE --help` lists them."""
    inputs: Annotated[tuple[str, ...], Parameter(name="--input")] = ()
    """A=OUTPUT or A=TABLE: for recipes that train on pairs, where the A sides of the images in --data come from, looked
    up by key."""
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False
    """Check the data, the output and all that the recipe needs, print all settings, and train nothing."""
    as_json: Annotated[bool, Parameter(name="--json")] = False
    """Print the result as JSON."""

    def worker_range(self) -> tuple[int, int]:
        """The least and the greatest number of workers."""
        least, _, most = self.workers.partition(":")
        return int(least), int(most or least)


def bundle_place(url: str) -> str:
    """Where a bundle lies: `place`, or for the name of a bundle that comes with Recast, the folder of that."""
    if url in SHIPPED and not _here(url).exists():
        return str(shipped(url))
    return _place_or_name(url, SHIPPED)


def _place_or_name(url: str, names: Sequence[str]) -> str:
    """A place; but what is nowhere and nearly one of the names is refused, and told the name."""
    near = difflib.get_close_matches(url, names, n=1, cutoff=0.8)
    if near and not _here(url).exists():
        raise SpecError(f"there is no {url}; did you mean {near[0]}?")
    return place(url)


def _here(path: str) -> Path:
    return Path(os.environ.get(FOLDER, "")) / path


def named_places(inputs: Sequence[str]) -> dict[str, str]:
    """The places of --input NAME=OUTPUT|TABLE by their names, absolute."""
    named: dict[str, str] = {}
    for text in inputs:
        name, equals, url = (part.strip() for part in text.partition("="))
        if not (name and equals and url):
            raise SpecError(f"--input {text}: it must be NAME=OUTPUT or NAME=TABLE")
        if name in named:
            raise SpecError(f"--input {name} is given twice; give it once")
        named[name] = place(url)
    return named


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
