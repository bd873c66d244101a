"""Whether two checkouts of Recast make the same bytes: every bulk job over one small archive, by both.

    python -m tests.benchmarks.same_bytes OTHER_CHECKOUT

A redrawing of the house changes no result. Each job runs as a user would run it, by the command line of either checkout
with this Python; then the keys, statuses and sha256s of both outputs are compared, and what differs is printed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from recast.models.bundle import write
from recast.models.description import Bundle
from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS

HERE = Path(__file__).parents[2]
OTHER_KINDS = (("palette.gif", "P"), ("grey.png", "L"), ("alpha.png", "RGBA"), ("cmyk.jpg", "CMYK"))
COMPARED = ("status", "sha256", "width", "height", "format", "error")


def archive(root: Path) -> None:
    """Photographs, faces, and the kinds of images that are decoded by a way of their own."""
    from skimage import data

    root.mkdir()
    for name in ("astronaut", "coffee", "cat", "rocket"):
        Image.fromarray(getattr(data, name)()).resize((200, 150)).save(root / f"{name}.jpg", quality=92)
    Image.fromarray(data.astronaut()).save(root / "whole astronaut.png")
    photograph = Image.fromarray(data.coffee()).resize((120, 90))
    for name, mode in OTHER_KINDS:
        photograph.convert(mode).save(root / name)
    Image.fromarray(np.asarray(photograph.convert("L")).astype(np.uint16) * 200).save(root / "deep.png")
    (root / "broken.jpg").write_bytes((root / "cat.jpg").read_bytes()[:900])
    (root / "no image.png").write_bytes(b"nothing")


def translator(folder: Path) -> str:
    """A small bundle with instance norm and dropout, and random weights."""
    torch.manual_seed(7)
    arguments = {"ngf": 8, "blocks": 2, "dropout": 0.5}
    network = NETWORKS["resnet_generator"](**arguments)
    descriptor = Descriptor(task="translate", size_multiple=4, value_range=(-1.0, 1.0))
    facts = {"name": "small", "recipe": "cyclegan", "network": "resnet_generator", "arguments": arguments}
    write(Bundle(**facts, descriptor=descriptor), network, folder)
    said = json.loads((folder / "bundle.json").read_text())
    del said["parts"], said["descriptor"]["inputs"]  # which other versions may not know
    (folder / "bundle.json").write_text(json.dumps(said))
    return str(folder)


def jobs(root: Path, out: Path, model: str) -> dict[str, list[str]]:
    """The commands, by the name of the output of each."""
    source, secret = str(root / "in"), str(root / "passcode")
    boxes = str(root / "boxes.json")
    deidentify = ["deidentify", source]
    return {
        "translate": ["translate", source, str(out / "translate"), "--model", model],
        "noise": ["translate", source, str(out / "noise"), "--model", model, "--noise"],
        "upscale": ["upscale", source, str(out / "upscale")],
        "x4 parquet webp": ["upscale", source, str(out / "x4 parquet webp"), "--scale", "4", "--shards", "parquet",
                            "--format", "webp"],
        "pixelate": [*deidentify, str(out / "pixelate"), "--method", "pixelate", "--smallest-face", "14"],
        "boxes": [*deidentify, str(out / "boxes"), "--detector", "none", "--boxes", boxes, "--format", "jpeg"],
        "sealed": [*deidentify, str(out / "sealed"), "--seal", "--passcode-file", secret, "--smallest-face", "14"],
        "restored": ["restore", str(out / "sealed"), str(out / "restored"), "--passcode-file", secret],
    }  # fmt: skip


def rows(output: Path) -> dict[str, tuple[object, ...]]:
    found = [row for part in sorted((output / "index").iterdir()) for row in pq.read_table(part).to_pylist()]
    return {row["key"]: tuple(row[name] for name in COMPARED) for row in found}


def main(other: str) -> int:
    different = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        archive(root / "in")
        (root / "passcode").write_text("a passcode that is long enough")
        keys = [path.name for path in sorted((root / "in").iterdir())]
        (root / "boxes.json").write_text(json.dumps({key: [[10, 10, 60, 50]] for key in keys}))
        model = translator(root / "model")
        outputs = {"other": root / "other", "here": root / "here"}
        for place, checkout in (("other", Path(other)), ("here", HERE)):
            for name, command in jobs(root, outputs[place], model).items():
                env = {**os.environ, "PYTHONPATH": str(checkout)}
                done = subprocess.run(
                    [sys.executable, "-m", "recast", *command, "--max-failed", "1"], cwd=checkout, env=env,
                    capture_output=True, text=True,
                )  # fmt: skip
                if done.returncode:
                    print(f"{place} {name}: status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        for name in jobs(root, outputs["here"], model):
            before, now = (rows(outputs[place] / name) for place in ("other", "here"))
            differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
            different += len(differing)
            print(f"{name}: {len(now)} rows, {len(now) - len(differing)} the same {differing or ''}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
