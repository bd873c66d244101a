"""One image through a network or a de-identification, in memory: what `import recast` gives for single images."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps

from recast.jobs.specs import bundle_place
from recast.models.description import BundleError
from recast.models.shipped import shipped
from recast.outputs import MOST_PIXELS, opened
from recast.pipeline import bundles
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.here import device_here
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operator, Result, settings_of
from recast.pipeline.cores import cores
from recast.pipeline.deidentify.operation import deidentifying
from recast.pipeline.deidentify.settings import Deidentification, Method, Policy, Replacement
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.images.pictures import Picture, with_alpha
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.precision import Precision
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source

AnyImage = TypeVar("AnyImage", Image.Image, np.ndarray)
"""A PIL image of any mode, or an array uint8 or uint16 [H, W] or [H, W, C]: grey, RGB, each with alpha or without."""
Device = Literal["auto", "cpu", "cuda"]


class Network:
    """A bundle's network on a device: `network(image)` gives the result as what the image came as."""

    def __init__(self, url: str, *, device: Device = "auto", precision: Precision = "fp32") -> None:
        """
        Args:
            url: a bundle's folder, local or any fsspec URL; or the name of one that ships with Recast.

        Raises:
            BundleError: there is none, it is damaged, or its network takes more than an image.
            DeviceError: there is no GPU.
        """
        self.bundle, network = bundles.fetch(bundle_place(url)).unpack()
        self._device = device_here(_job(device, precision))
        if len(self.bundle.descriptor.takes) > 1 or self.bundle.descriptor.takes[0].kind != "image":
            raise BundleError(
                f"{url} takes more than one image, or something else; use Job, or `recast translate --input`"
            )
        self._operator = Generator(
            network, self.bundle.descriptor, device=self._device, precision=precision, batch_size=1
        )

    def __call__(self, image: AnyImage) -> AnyImage:
        """The network's result for one image, large ones in tiles.

        Raises:
            InputError: the network can't do with it, or gives what isn't finite.
            TypeError, ValueError: it is no image.
        """
        return _applied(self._operator, image, self._device)

    def __repr__(self) -> str:
        return f"<recast.Network {self.bundle.name!r} on {self._device}>"


def load(bundle: str, *, device: Device = "auto", precision: Precision = "fp32") -> Network:
    """A bundle's network, ready for many images. Arguments and errors as of `Network`."""
    return Network(bundle, device=device, precision=precision)


def translate(image: AnyImage, bundle: str, *, device: Device = "auto") -> AnyImage:
    """One image through a bundle's network. The last bundles stay loaded."""
    return _network(bundle, "", device)(image)


def upscale(image: AnyImage, *, scale: Literal[2, 4] = 2, model: str = "", device: Device = "auto") -> AnyImage:
    """One image enlarged, by a bundle that ships with Recast or by `model`. The last bundles stay loaded."""
    return _network(model or str(shipped(f"upscale-x{scale}")), "upscale", device)(image)


def deidentify(
    image: AnyImage,
    *,
    detectors: Sequence[str] = ("centerface",),
    method: Method = "solid",
    threshold: float | None = None,
    device: Device = "auto",
) -> AnyImage:
    """One image, its faces replaced.

    Args:
        detectors: `centerface`, `cascades`, or bundles of `recast train retinaface`.
        threshold: the score from which a region is replaced, 0 to 1; by default as of `recast deidentify`.

    Raises:
        HeldError: something is in doubt, so that the image must not be published.
        InputError: it can't be judged.
    """
    policy = Policy() if threshold is None else Policy(threshold=threshold)
    return _applied(_anonymizer(tuple(detectors), method, policy, device), image, "cpu", closed=True)


@lru_cache(maxsize=2)
def _network(bundle: str, task: str, device: Device) -> Network:
    network = Network(bundle, device=device)
    if task and network.bundle.descriptor.task != task:
        raise BundleError(f"{bundle} is a bundle for `{network.bundle.descriptor.task}`, not for `{task}`")
    return network


@lru_cache(maxsize=2)
def _anonymizer(detectors: tuple[str, ...], method: Method, policy: Policy, device: Device) -> Operator:
    asked = Deidentification(detectors=detectors, replacement=Replacement(method=method), policy=policy)
    job = _job(device, "fp32", job="deidentify", making=asked.deciding())
    operation = deidentifying(asked, "")
    settings = settings_of(job, operation, run="none", device=device_here(job), threads=0)
    return operation.payload().operator(settings)


def _job(device: Device, precision: Precision, **more: Any) -> BulkJob:
    """The job that settings of one image are part of; it has no places."""
    facts: dict[str, Any] = {"job": "translate", "source": Source(urls=()), "output": "", **more}
    return BulkJob(device=device, precision=precision, encoder=Encoder(), **facts)


def _applied(operator: Operator, image: AnyImage, device: str, *, closed: bool = False) -> AnyImage:
    """An operator's result for one image, as what the image came as."""
    item = Input(key="image", source="", fingerprint="", container=b"")
    with _threads(operator, device):
        (result,) = operator([picture_of(image)], [item])
    if isinstance(result, InputError):
        raise HeldError(result.kind, result.sentence) if closed else result
    return _like(image, result)


@contextlib.contextmanager
def _threads(operator: Operator, device: str) -> Iterator[None]:
    """As many threads as in a job on this machine, so that pixels are the same; afterwards as many as before."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(cores() if operator.any_threads else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def picture_of(image: Image.Image | np.ndarray) -> Picture:
    """An image as the stages of a job have it. Raises TypeError or ValueError for what is none."""
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a PIL.Image or a numpy array, not {type(image).__name__}")
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"the array's values are {image.dtype}; they must be uint8 or uint16")
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or not pixels.size:
        raise ValueError(f"the array's shape is {image.shape}; it must be [H, W] or [H, W, C] with 1 to 4 channels")
    if pixels.shape[2] in (1, 3):
        return Picture(pixels=np.ascontiguousarray(pixels))
    alpha = pixels[..., -1] if pixels.dtype == np.uint8 else (pixels[..., -1] >> 8).astype(np.uint8)
    return Picture(pixels=np.ascontiguousarray(pixels[..., :-1]), alpha=np.ascontiguousarray(alpha))


def _of_pillow(image: Image.Image) -> Picture:
    """As the same image in a file would be read: palettes, CMYK, 16 bits and rotation as people see them."""
    upright, file = ImageOps.exif_transpose(image), io.BytesIO()
    if upright.mode in ("F", "CMYK"):  # PNG has no such modes
        upright.save(file, "TIFF")
    else:
        upright = upright.convert("RGB") if upright.mode in ("YCbCr", "HSV", "LAB", "RGBX") else upright
        upright.save(file, "PNG", compress_level=0)
    return decode(file.getvalue(), MOST_PIXELS)


def _like(image: AnyImage, result: Result) -> AnyImage:
    picture = result.picture
    if picture is None:
        raise ValueError("the result is no image")
    if isinstance(image, np.ndarray):
        alpha = picture.alpha
        if alpha is not None and picture.pixels.dtype == np.uint16:
            alpha = alpha.astype(np.uint16) * 257
        pixels = with_alpha(picture.pixels, alpha)
        return pixels[..., 0] if image.ndim == 2 and pixels.shape[2] == 1 else pixels
    encoder = Encoder(format="png", metadata="safe", provenance=False)
    return opened(encoder.encode(picture))


__all__ = ["HeldError", "Network", "deidentify", "load", "translate", "upscale"]
