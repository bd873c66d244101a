"""The bulk road against itself, in one run: `python -m tests.benchmarks.bulk_variants [storage] [bf16]`.

storage: model-bound, archive and output in an S3 server on this machine against local disk. bf16: images per second
against fp32 on a CPU with AMX, and how far the pixels differ. Start-up is left out by taking the difference of two
archives.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from recast.jobs.object_store import local_object_store
from recast.pipeline import cluster, storage
from recast.pipeline.images.decode import decode
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.precision import Precision
from tests.benchmarks.archives import SMALL_PX, make_archive, make_bundle
from tests.benchmarks.bulk_road import seconds

FEW, MANY = 8, 168


def on_storage(root: Path) -> None:
    """Time on S3 over time on disk, in turns: disk, S3, disk, S3."""
    bundle = make_bundle(root / "resnet", "resnet_generator")
    local = [make_archive(root / f"in-{n}", n, SMALL_PX) for n in (FEW, MANY)]
    with local_object_store(root / "buckets") as store, store.exported():
        bucket = store.make_bucket("bench")
        remote = [uploaded(archive, f"{bucket}/in-{n}") for n, archive in enumerate(local)]
        with cluster.connected():
            spent = {"disk": 0.0, "s3": 0.0}
            for turn in range(2):
                for name, (few, many), out in (("disk", local, str(root)), ("s3", remote, bucket)):
                    begun = seconds(bundle, few, f"{out}/out-{turn}-few")
                    spent[name] += seconds(bundle, many, f"{out}/out-{turn}-many") - begun
    print(f"model-bound on S3: {spent['s3'] / spent['disk']:.2f} times the time on local disk", flush=True)


def uploaded(folder: str, url: str) -> str:
    fs, path = storage.filesystem(url)
    for file in Path(folder).iterdir():
        fs.put_file(str(file), f"{path}/{file.name}")
    return url


def in_bf16(root: Path) -> None:
    bundle = make_bundle(root / "resnet-bf16", "resnet_generator")
    few, many = (make_archive(root / f"bf16-{n}", n, SMALL_PX) for n in (FEW, MANY))
    spent: dict[Precision, float] = {}
    with cluster.connected():
        for precision in ("fp32", "bf16"):
            begun = seconds(bundle, few, root / f"{precision}-few", format="png", precision=precision)
            outside = seconds(bundle, many, root / f"{precision}-many", format="png", precision=precision)
            spent[precision] = outside - begun
    differences = np.concatenate([np.abs(a - b).ravel() for a, b in zip(*map(pixels, (
        root / "fp32-many", root / "bf16-many")), strict=True)])  # fmt: skip
    print(
        f"bf16: {spent['fp32'] / spent['bf16']:.2f} times the images/s of fp32; pixels differ by "
        f"{differences.mean():.2f} of 255 on average, {np.quantile(differences, 0.99):.0f} at the 99th percentile, "
        f"{differences.max():.0f} at most (random weights)",
        flush=True,
    )


def pixels(output: Path) -> list[np.ndarray]:
    view = OutputFileSystem(str(output))
    return [decode(view.cat_file(path), 10**9).pixels.astype(np.int32) for path in view.find("")]


def main() -> None:
    asked = sys.argv[1:] or ["storage", "bf16"]
    with tempfile.TemporaryDirectory() as folder:
        for name in asked:
            {"storage": on_storage, "bf16": in_bf16}[name](Path(folder))


if __name__ == "__main__":
    main()
