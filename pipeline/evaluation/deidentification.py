"""How well a de-identification did, against what is known to be there: found, recognised, recovered, still faces."""

import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from recast.models.description import BundleError
from recast.models.faces import Window, resized
from recast.models.metrics.fid import Moments, frechet_distance
from recast.models.metrics.lpips import LPIPS
from recast.models.metrics.psnr import psnr_db
from recast.models.networks.face_embedder import FaceEmbedder
from recast.models.pixels import to_range
from recast.pipeline import storage
from recast.pipeline.bundles import Packed
from recast.pipeline.deidentify.secrets.seal import COSTS, Secret, stretched
from recast.pipeline.images.bounds import OWN_MAX_BYTES, OWN_MAX_PIXELS
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import as_rgb8
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import PLACE, current, image_bytes, place_of
from recast.pipeline.regions.detectors import Detector
from recast.pipeline.regions.region import Region, overlap
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source, inventory

MATCHED = 0.5
"""A region that overlaps a face by so much has found it (intersection over union)."""
SIZES_PX = (0, 16, 32, 64, 128)
"""Faces are counted by the longer side of their box, from each of these on."""
FACES_AT_ONCE = 64
COMPARED_PX = 64
"""Faces are brought to this side to be compared."""
GUESSERS = 1_000
"""Cores that the arithmetic of guessing gives to who tries."""
YEAR_S = 365.25 * 24 * 3600
SECRET_BITS = (20, 40, 60, 80, 128)
"""Bits of a passcode that is a common password, a good one, five random words, six, a random key."""


@dataclass
class Found:
    """What became of the faces that are known to be there."""

    faces: int = 0
    found: int = 0
    missed: int = 0
    held: int = 0
    """In images that were not published."""

    @property
    def recall(self) -> float | None:
        """Counts of the faces in published images."""
        seen = self.found + self.missed
        return self.found / seen if seen else None


@dataclass(kw_only=True)
class Evaluation:
    """All that was measured; None where what it takes was not given."""

    images: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Images that could not be measured, each with its fault."""
    without_original: int = 0
    """Images with faces that the source no longer has."""
    of_another_size: int = 0
    """Versions of images that differ in size from their original, and are not measured."""
    faces: Found = field(default_factory=Found)
    by_size: dict[str, Found] = field(default_factory=dict)
    """By the longer side of a face's box in pixels."""
    missed: list[str] = field(default_factory=list)
    """Keys of published images with a face that was not found, the first few."""
    identities: int | None = None
    chance: float | None = None
    """The chance of recognising who it is without looking."""
    recognised: dict[str, float] = field(default_factory=dict)
    """Share of faces whose nearest person is the right one: `before`, `after`, and of restored outputs."""
    psnr_db: dict[str, float] = field(default_factory=dict)
    """Mean over the faces, against the originals: `after`, and of restored outputs; infinite where all are equal."""
    exact: dict[str, float] = field(default_factory=dict)
    """Share of the faces that are as they were, to the last bit."""
    lpips: float | None = None
    """Mean distance between faces before and after."""
    frechet: float | None = None
    """Distance between the sets of faces before and after, in the recognizer's features."""
    still_faces: float | None = None
    """Share of replaced faces in whose place a detector finds a face: the use that is left."""
    guessing: dict[str, Any] = field(default_factory=dict)
    """What it takes to try passcodes, measured and estimated."""

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self)
        facts["faces"]["recall"] = self.faces.recall
        for size, found in self.by_size.items():
            facts["by_size"][size]["recall"] = found.recall
        facts["psnr_db"] = {name: value if math.isfinite(value) else None for name, value in self.psnr_db.items()}
        return facts


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """What there is to measure with."""

    recognizer: Packed | None = None
    lpips: LPIPS | None = None
    detectors: Sequence[Detector] = ()


class Images:
    """The images of an output, or of any source, by key."""

    def __init__(self, url: str) -> None:
        self._fs, self._path = storage.filesystem(url)
        with storage.faults_as_sentences(f"reading {url}"):
            columns = ["key", "status", "regions", *PLACE, "width", "height"]
            self.rows: dict[str, dict[str, Any]] = {
                row["key"]: row for row in current(self._fs, self._path, columns).to_pylist()
            }

    def pixels(self, key: str) -> np.ndarray | None:
        """Raises InputError or a fault of storage for bytes that are no image any more."""
        row = self.rows.get(key)
        if row is None or row["status"] != "ok" or place_of(row) is None:
            return None
        return as_rgb8(decode(image_bytes(self._fs, self._path, row), OWN_MAX_PIXELS).pixels)


def evaluate(
    originals: str, output: str, faces: RegionTable, instruments: Instruments, restored: Mapping[str, str]
) -> Evaluation:
    """Measure an output of `recast deidentify` against its source and a table of the faces in it.

    Args:
        restored: outputs of `recast restore`, by what to call them.

    Raises:
        StorageError: a place can't be read.
        BundleError: the bundle of the recognizer holds another network.
        ValueError: no key of the output is in the table of faces.
    """
    published, back = Images(output), {name: Images(url) for name, url in restored.items()}
    result = Evaluation(images=len(published.rows), guessing=guessing())
    if not any(faces.of(key) for key in published.rows):
        raise ValueError(f"no face of the table belongs to an image of {output}; are its keys hidden (--keys hmac)?")
    for key, row in published.rows.items():
        _count(result, key, row, faces.of(key))
    album = _Album(instruments)
    wanted = {key for key in published.rows if faces.of(key)}
    for item in _originals(originals, wanted):
        wanted.discard(item.key)
        try:
            versions = {"before": as_rgb8(decode(read(item, OWN_MAX_BYTES), OWN_MAX_PIXELS).pixels)}
            for name, images in {"after": published, **back}.items():
                if (pixels := images.pixels(item.key)) is not None:
                    versions[name] = pixels
        except (InputError, storage.StorageError, OSError) as fault:
            why = storage.sentence(fault) if isinstance(fault, OSError) else fault
            result.unreadable.append(f"{item.key}: {why}")
            continue
        alike = {name: pixels for name, pixels in versions.items() if pixels.shape == versions["before"].shape}
        result.of_another_size += len(versions) - len(alike)
        album.add(faces.of(item.key), alike)
    result.without_original = len(wanted)
    album.sum_up(result)
    return result


def guessing() -> dict[str, Any]:
    """How long a guess of a passcode takes on one core here, and how long all of them on a thousand."""
    began = time.perf_counter()
    stretched(Secret(b"a guess"), b"salt" * 8, **COSTS)
    seconds = time.perf_counter() - began
    years = {str(bits): 2.0 ** (bits - 1) * seconds / GUESSERS / YEAR_S for bits in SECRET_BITS}
    return {
        "seconds_per_guess": seconds,
        "memory_mib_per_guess": 128 * COSTS["n"] * COSTS["r"] / 2**20,
        "cores": GUESSERS,
        "expected_years_by_bits_of_the_passcode": years,
    }


def _originals(url: str, keys: Collection[str]) -> list[Input]:
    return [item for item in inventory(Source(urls=(url,))) if item.key in keys]


def _count(result: Evaluation, key: str, row: Mapping[str, Any], faces: Sequence[Region]) -> None:
    regions = np.array([region["box"] for region in row["regions"] or ()], float).reshape(-1, 4)
    for face in faces:
        longer = max(face.width, face.height)
        size = max(limit for limit in SIZES_PX if longer >= limit)
        bins = (result.faces, result.by_size.setdefault(f"{size}+", Found()))
        found = len(regions) and overlap(np.array([face.box]), regions).max() >= MATCHED
        for counted in bins:
            counted.faces += 1
            counted.held += row["status"] != "ok"
            counted.found += bool(row["status"] == "ok" and found)
            counted.missed += bool(row["status"] == "ok" and not found)
        if row["status"] == "ok" and not found and key not in result.missed and len(result.missed) < 20:
            result.missed.append(key)


class _Album:
    """Faces as they were and as they became, measured one image after the other."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._network: FaceEmbedder | None = None
        if instruments.recognizer is not None:
            bundle, network = instruments.recognizer.unpack()
            if not isinstance(network, FaceEmbedder):
                raise BundleError(f"{instruments.recognizer.url} is not a face recognizer: it holds {bundle.network}")
            self._network = network
        self._embedded: dict[str, list[np.ndarray]] = defaultdict(list)
        self._who: dict[str, list[str]] = defaultdict(list)
        self._psnr: dict[str, list[float]] = defaultdict(list)
        self._lpips: list[float] = []
        self._still: list[bool] = []

    def add(self, faces: Sequence[Region], versions: Mapping[str, np.ndarray]) -> None:
        """One image's faces, in each version that there is of it."""
        original = versions["before"]
        for name, pixels in versions.items():
            self._embed(name, faces, pixels)
            if name != "before":
                self._psnr[name] += [psnr_db(_part(pixels, f), _part(original, f)) for f in faces if _whole(f, pixels)]
        if "after" not in versions:
            return
        if self._instruments.lpips is not None:
            before, after = (_squares(faces, versions[name], COMPARED_PX, 1.0) for name in ("before", "after"))
            self._lpips += self._instruments.lpips(before, after).tolist()
        if self._instruments.detectors:
            found = [r.box for d in self._instruments.detectors for r in d([versions["after"]])[0] if r.score >= 0.5]
            boxes = np.array([face.box for face in faces])
            best = overlap(boxes, np.array(found)).max(1) if found else np.zeros(len(faces))
            self._still += list(best >= MATCHED * 0.8)

    @torch.inference_mode()
    def _embed(self, name: str, faces: Sequence[Region], pixels: np.ndarray) -> None:
        if self._network is None:
            return
        squares = _squares(faces, pixels, self._network.size_px, self._network.context)
        self._embedded[name].append(self._network(to_range(squares, -1, 1)).numpy())
        self._who[name] += [face.identity for face in faces]

    def sum_up(self, result: Evaluation) -> None:
        for name, values in self._psnr.items():
            finite = [value for value in values if math.isfinite(value)]
            result.psnr_db[name] = float(np.mean(finite)) if finite else math.inf
            result.exact[name] = 1 - len(finite) / max(len(values), 1)
        if self._lpips:
            result.lpips = float(np.mean(self._lpips))
        if self._still:
            result.still_faces = float(np.mean(self._still))
        if self._network is None:
            return
        if not self._embedded:
            return
        embedded = {name: np.concatenate(parts) for name, parts in self._embedded.items()}
        if min(map(len, embedded.values())) > 1 and "after" in embedded:
            moments = {name: Moments(self._network.features) for name in ("before", "after")}
            for name, of in moments.items():
                of.add(embedded[name])
            result.frechet = frechet_distance(moments["before"], moments["after"])
        self._recognise(result, embedded)

    def _recognise(self, result: Evaluation, embedded: Mapping[str, np.ndarray]) -> None:
        """Every other of each person's originals is who they are known by; the rest are asked about."""
        who = np.array(self._who["before"])
        known = _known(who)
        people = sorted(set(who[known]) - {""})
        if len(people) < 2:
            return
        centres = np.stack([embedded["before"][known & (who == name)].mean(0) for name in people])
        result.identities, result.chance = len(people), 1 / len(people)
        for name, rows in embedded.items():
            theirs = np.array(self._who[name])
            asked = np.isin(theirs, people)
            if name == "before":
                asked &= ~known
            nearest = np.array(people)[(rows[asked] @ centres.T).argmax(1)]
            if asked.any():
                result.recognised[name] = float((nearest == theirs[asked]).mean())


def _known(who: np.ndarray) -> np.ndarray:
    """Every other face of each person."""
    counts: dict[str, int] = defaultdict(int)
    known = np.zeros(len(who), bool)
    for n, name in enumerate(who):
        known[n] = counts[name] % 2 == 0
        counts[name] += 1
    return known


def _squares(faces: Sequence[Region], pixels: np.ndarray, size_px: int, context: float) -> torch.Tensor:
    """uint8 [N, 3, size_px, size_px]"""
    squares = [resized(Window.around(face.box, context).cut(pixels), size_px) for face in faces]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def _part(pixels: np.ndarray, face: Region) -> np.ndarray:
    left, top, right, bottom = (round(side) for side in face.box)
    return pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def _whole(face: Region, pixels: np.ndarray) -> bool:
    return _part(pixels, face).size > 0
