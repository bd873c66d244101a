"""Learned replacement: new faces painted over old ones, many at a time, and back where a code leads back."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from recast.models.description import BundleError
from recast.models.face_codes import latent_of, signs_of
from recast.models.faces import Window, enlarged, fading, pose, resized, seen
from recast.models.networks.face_generator import FaceGenerator
from recast.models.networks.face_transformer import FaceTransformer
from recast.models.pixels import LUMA, to_range
from recast.pipeline.bundles import Packed
from recast.pipeline.deidentify.secrets.codes import code
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.images.pictures import as_rgb8
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.regions import masks
from recast.pipeline.regions.region import Region
from recast.pipeline.sources.inputs import Input

FACES_AT_ONCE = {"cpu": 8}
FACES_AT_ONCE_ON_ACCELERATORS = 64
BY_IMAGE, BY_FOLDER = "image", "folder"

Box = tuple[int, int, int, int]
Faces = Sequence[Region]


class FacePainter:
    """Paints over the faces of images. The same key, image and boxes give the same faces.

    Faces of one image that come close to each other are painted one after the other, the larger first, each into
    what the ones before left; all others, of all images, go through the network together.
    """

    def __init__(
        self, packed: Packed, key: Secret, *, device: str = "cpu", consistent_by: str = BY_IMAGE, back: bool = False
    ) -> None:
        """`back`: bring faces back that were painted by a transformer, in place of painting over them.

        Raises:
            BundleError: not a bundle of a face network.
        """
        bundle, network = packed.unpack()
        if not isinstance(network, (FaceGenerator, FaceTransformer)):
            raise BundleError(f"{packed.url} is not a face generator: it holds the network {bundle.network}")
        self.action = "passcode" if isinstance(network, FaceTransformer) else "deidentify"
        if back and self.action != "passcode":
            raise BundleError(
                f"{packed.url} paints faces from which there is no way back; only `passcode` bundles have one"
            )
        self._network, self._device = network.to(device), device
        self._key, self._group, self._back = key, grouping(consistent_by), back
        self._at_once = FACES_AT_ONCE.get(device, FACES_AT_ONCE_ON_ACCELERATORS)

    def __call__(
        self, images: Sequence[np.ndarray], faces: Sequence[Faces], items: Sequence[Input]
    ) -> list[tuple[np.ndarray, list[Box]]]:
        """Images uint [H, W, 1 or 3], their faces as `ordered` gives them, and inputs -> the images with other faces,
        and boxes that hold every changed pixel."""
        results = [image.copy() for image in images]
        boxes: list[list[Box]] = [[] for _ in images]
        for group in _rounds([self._windows(found) for found in faces], backwards=self._back):
            for start in range(0, len(group), self._at_once):
                few = group[start : start + self._at_once]
                cuts = [Cut(results[n], faces[n][k], self._network.context, self._network.margin) for n, k in few]
                codes = [code(self._key, self._named(items[n], faces[n], k)) for n, k in few]
                for (n, _), cut, new in zip(few, cuts, self._made(cuts, codes), strict=True):
                    boxes[n].append(cut.paste(results[n], new))
        return list(zip(results, boxes, strict=True))

    def _windows(self, faces: Faces) -> list[Window]:
        return [Window.around(face.box, self._network.context) for face in faces]

    def _named(self, item: Input, faces: Faces, number: int) -> str:
        """What a face's code is derived from: for one group and one identity, or number in the image, one face."""
        name = item.alias or item.key
        group = self._group(name)
        if group == name:
            return f"{item.alias if self._back and item.alias else item.key}\n{number}"
        return f"{group}\n{faces[number].identity or number}"

    @torch.inference_mode()
    def _made(self, cuts: Sequence["Cut"], codes: Sequence[bytes]) -> list[np.ndarray]:
        """New faces for cuts, uint8 [S, S, 3] each, at the network's size."""
        size, latent = self._network.size_px, self._network.latent
        if isinstance(self._network, FaceTransformer):
            squares = [resized(cut.square, size) for cut in cuts]
            covers = [seen(cut.square, cut.mask, size)[1] for cut in cuts]
            signs = torch.stack([signs_of(code, latent) for code in codes]).to(self._device)
            with raised_by_network():
                made = self._network(self._images(squares), self._masks(covers), signs, back=self._back)
        else:
            squares, covers = zip(*(seen(cut.square, cut.mask, size) for cut in cuts), strict=True)
            points = torch.from_numpy(np.stack([cut.pose() for cut in cuts])).to(self._device)
            latents = torch.stack([latent_of(code, latent) for code in codes]).to(self._device)
            with raised_by_network():
                made = self._network(self._images(squares), self._masks(covers), points, latents)
        pixels = ((made.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        return list(pixels.permute(0, 2, 3, 1).cpu().numpy())

    def _images(self, squares: Sequence[np.ndarray]) -> Tensor:
        return to_range(torch.from_numpy(np.stack(squares)).to(self._device).permute(0, 3, 1, 2), -1, 1)

    def _masks(self, covers: Sequence[np.ndarray]) -> Tensor:
        return to_range(torch.from_numpy(np.stack(covers)).to(self._device)[:, None], 0, 1)


class Cut:
    """The square around a face, as the network is to see it, and how a new face is put in its place."""

    def __init__(self, image: np.ndarray, face: Region, context: float, margin: float) -> None:
        self.face, self.margin = face, margin
        self.window = Window.around(face.box, context)
        self.square = as_rgb8(self.window.cut(image))
        self.inside = self.window.inside(face.box, margin)
        self.known = face_pixels(face, self.window, image.shape)
        """bool [S, S]: the pixels of the face's own mask, none where it has none."""
        self.mask = (self.inside <= 1) | self.known
        """bool [S, S]: what the network is not shown."""

    def pose(self) -> np.ndarray:
        return pose(self.face.box, self.face.landmarks or None, self.window)

    def paste(self, image: np.ndarray, new: np.ndarray) -> Box:
        """Fade a new face, uint8 [S, S, 3], into the image; returns the box that holds every pixel it touches."""
        height, width = image.shape[:2]
        w = self.window
        left, top = max(0, w.left), max(0, w.top)
        right, bottom = min(width, w.left + w.side), min(height, w.top + w.side)
        rows, columns = slice(top - w.top, bottom - w.top), slice(left - w.left, right - w.left)
        share = np.where(self.known, np.float32(1), fading(self.inside, self.margin))[rows, columns, None]
        large = enlarged(new, w.side)[rows, columns]
        if image.shape[2] == 1:
            large = large @ np.array(LUMA, np.float32)[:, None]
        if image.dtype == np.uint16:
            large *= 257
        part = image[top:bottom, left:right]
        part[:] = np.where(share > 0, part + (large - part) * share, part).round().clip(0, np.iinfo(image.dtype).max)
        touched_rows, touched_columns = (np.flatnonzero((share[..., 0] > 0).any(axis)) for axis in (1, 0))
        if not len(touched_rows):
            return left, top, left, top
        return (
            left + int(touched_columns[0]), top + int(touched_rows[0]),
            left + int(touched_columns[-1]) + 1, top + int(touched_rows[-1]) + 1,
        )  # fmt: skip


def face_pixels(face: Region, window: Window, shape: tuple[int, ...]) -> np.ndarray:
    """Which pixels of a square of an image [H, W, C] the face's mask holds, bool [S, S]; none where it has no mask."""
    inside = np.zeros((window.side, window.side), bool)
    height, width = shape[:2]
    left, top = max(0, window.left), max(0, window.top)
    right, bottom = min(width, window.left + window.side), min(height, window.top + window.side)
    if face.mask is None or left >= right or top >= bottom:
        return inside
    part = masks.decoded(face.mask, height, (left, top, right, bottom))
    inside[top - window.top : bottom - window.top, left - window.left : right - window.left] = part
    return inside


def ordered(faces: Faces) -> list[Region]:
    """The order that faces are painted and numbered in: the largest first; boxes as exact as the index keeps them."""
    as_kept = [_as_kept(face) for face in faces]
    return sorted(as_kept, key=lambda face: (-face.width * face.height, face.box))


def _as_kept(face: Region) -> Region:
    left, top, right, bottom = (float(np.float32(side)) for side in face.box)
    return dataclasses.replace(face, box=(left, top, right, bottom))


def grouping(consistent_by: str) -> Callable[[str], str]:
    """From an image's key to what its faces share identities with: itself, its folder, or what a pattern finds."""
    if consistent_by == BY_IMAGE:
        return lambda key: key
    if consistent_by == BY_FOLDER:
        return lambda key: key.rpartition("/")[0] + "/"
    pattern = re.compile(consistent_by)

    def group(key: str) -> str:
        found = pattern.search(key)
        return key if found is None else "track " + "/".join(found.groups() or (found[0],))

    return group


def _rounds(windows: Sequence[Sequence[Window]], *, backwards: bool) -> list[list[tuple[int, int]]]:
    """Which faces (image, number) go through together: none whose window meets that of one yet to come before it."""
    rounds: list[list[tuple[int, int]]] = []
    for n, found in enumerate(windows):
        turn: dict[int, int] = {}
        numbers = range(len(found))
        for k in reversed(numbers) if backwards else numbers:
            turn[k] = 1 + max((turn[j] for j in turn if _meet(found[j], found[k])), default=-1)
            while len(rounds) <= turn[k]:
                rounds.append([])
            rounds[turn[k]].append((n, k))
    return rounds


def _meet(one: Window, other: Window) -> bool:
    return (
        one.left < other.left + other.side and other.left < one.left + one.side
        and one.top < other.top + other.side and other.top < one.top + one.side
    )  # fmt: skip
