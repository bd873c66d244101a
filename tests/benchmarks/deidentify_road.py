"""De-identification against its bare networks: `python -m tests.benchmarks.deidentify_road [blur] [painted]`.

The ceiling is as many bare processes at work at once as there are cores, each putting resident photographs through the
networks that the job needs: the detector twice (the result is looked at again), and with `painted` the face generator
once for each face found. The product is `recast.pipeline.bulk.road.run`, JPEG to shards, decoding, encoding, policy and
all; its start-up is left out by running it on two archives of different sizes and taking the difference.
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from recast.models import recipes
from recast.models.bundle import write
from recast.models.description import Bundle
from recast.models.recipes.recipe import RecipeAssets
from recast.pipeline import bundles, cluster
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.deidentify.operation import deidentifying
from recast.pipeline.deidentify.replacement.painter import Cut, FacePainter
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.deidentify.settings import Deidentification, Replacement
from recast.pipeline.images.encode import Encoder
from recast.pipeline.regions.centerface import CenterFace
from recast.pipeline.sources.inventory import Source
from tests.benchmarks.archives import QUALITY, make_archive
from tests.benchmarks.bulk_road import CORES, Silent, rate

SIDE_PX = 512
FEW, MANY, BARE = 16, 208, 40
THRESHOLD = 0.2


def bare(folder: str, bundle: str) -> float:
    """Images per second of the networks alone on resident photographs, in this process, by one thread."""
    torch.set_num_threads(1)
    detector = CenterFace(threads=1)
    photographs = [np.asarray(Image.open(path)) for path in sorted(Path(folder).iterdir())[:8]]
    faces = [[r for r in detector([image])[0] if r.score >= THRESHOLD] for image in photographs]
    painter = FacePainter(bundles.fetch(bundle), Secret(b"")) if bundle else None
    n = 0

    def once() -> None:
        nonlocal n
        image, found = photographs[n % len(photographs)], faces[n % len(photographs)]
        n += 1
        detector([image])
        if painter is not None and found:
            painter._made([Cut(image, face, 1.6, 0.3) for face in found], [b"c" * 16] * len(found))
        detector([image])

    once()
    return rate(once, BARE)


def ceiling(folder: str, bundle: str) -> float:
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(bare, [folder] * CORES, [bundle] * CORES))


def face_bundle(folder: Path) -> str:
    """A generator of faces with fresh weights, of the `base` preset's size."""
    torch.manual_seed(0)
    recipe = recipes.build("deidentify", recipes.configured("deidentify", "base"), RecipeAssets())
    exported = recipe.exported
    described = Bundle(
        name="benchmark", recipe="none", network=exported.network, arguments=exported.arguments,
        descriptor=exported.descriptor,
    )  # fmt: skip
    write(described, recipe.networks[exported.name], folder)
    return str(folder)


def seconds(archive: str, output: Path, bundle: str) -> float:
    asked = Deidentification(replacement=Replacement(method="blur"), model=bundle)
    secret = Secret(b"a passcode for a benchmark") if bundle else None
    job = BulkJob(
        job="deidentify", source=Source(urls=(archive,)), output=str(output), making=asked.deciding(),
        encoder=Encoder(format="jpeg", quality=QUALITY),
    )  # fmt: skip
    began = time.perf_counter()
    summary = road.run(job, Silent(), deidentifying(asked, str(output), secret))
    assert summary.ok
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, cluster.connected():
        root = Path(folder)
        archives = {count: make_archive(root / f"in-{count}", count, SIDE_PX) for count in (FEW, MANY)}
        for name in sys.argv[1:] or ["blur", "painted"]:
            bundle = face_bundle(root / "bundle") if name == "painted" else ""
            before = ceiling(archives[FEW], bundle)
            spent = [seconds(archives[count], root / f"{name}-{count}", bundle) for count in (FEW, MANY)]
            got = (MANY - FEW) / (spent[1] - spent[0])
            possible = (before + ceiling(archives[FEW], bundle)) / 2
            print(
                f"{name}: {got:.2f} of {possible:.2f} images/s: {got / possible:.2f} of the bare networks", flush=True
            )


if __name__ == "__main__":
    main()
