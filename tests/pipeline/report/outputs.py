"""Outputs for the report's tests to look at: photographs that were upscaled or translated, and a training's logs."""

import datetime
import io
import json
import math
import random
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image, ImageDraw

from recast.pipeline import storage
from recast.pipeline.output import index, rows
from recast.pipeline.output.shards import TarShard

WHEN = datetime.datetime(2026, 11, 20, 21, 4, 11, tzinfo=datetime.UTC)
MODEL, SPEC = "sha256:9f3c2a7d41be8805", "sha256:51d0c7e2b6aa9f13"
VERSIONS = {"recast": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "ray": "2.60.0", "pillow": "13.0.0"}


def row(key: str, source: str, **fields) -> rows.Row:
    made = {"fingerprint": key, "status": "ok", "model": MODEL, "spec": SPEC, "run": "r1", "finished_at": WHEN}
    return rows.Row(key=key, source=source, **{**made, **fields})


def failed(key: str, error: str, status: str = "failed") -> rows.Row:
    return row(key, f"file:///photos/{key}", status=status, error=error)


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def bulk(
    output: Path, sources: Path, pairs: dict[str, tuple[Image.Image, Image.Image]], bad: list[rows.Row], **fields
) -> None:
    """Commit one shard with the results of some pairs (before, after), their sources on disk, and some bad rows.

    `fields` stand in every good row.
    """
    fs, root = storage.filesystem(str(output))
    settled = list(bad)
    with TarShard() as shard:
        for key, (before, after) in pairs.items():
            source = sources / key
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(png(before))
            good = row(
                key,
                f"file://{source}",
                shard="0001.tar",
                format="png",
                width=after.width,
                height=after.height,
                source_width=before.width,
                source_height=before.height,
                **fields,
            )
            shard.add(good, png(after), "png")
            settled.append(good)
        size = shard.commit(fs, storage.join(root, index.SHARDS, "0001.tar"))
    facts = {"recast.shard": "0001.tar", "recast.shard_bytes": str(size)}
    index.write_fragment(fs, root, "0001.tar", rows.table(settled, facts))


def manifest(output: Path, name: str = "20261120T210411-1", **fields) -> None:
    """The manifest of a finished run."""
    made = {
        "format": "recast-output/2",
        "run": name,
        "job": "upscale",
        "source": "s3://archive/photos",
        "output": str(output),
        "model": {"name": "srresnet x4", "digest": MODEL, "path": "models/bundles/srresnet-x4"},
        "spec": {"job": "upscale", "scale": 4, "format": "png", "shard_images": 1000, "metadata": "safe"},
        "spec_digest": SPEC,
        "counts": {"inputs": 1216, "ok": 1198, "failed": 14, "held": 0, "settled_before": 4},
        "bytes": {"read": 412_334_102, "written": 3_918_220_114},
        "seconds": {"wall": 632.4, "fetch": 31.0, "decode": 44.2, "generate": 1003.8, "encode": 146.0, "write": 19.3},
        "images_per_s": 1.917,
        "failures": {"truncated": 9, "not-an-image": 5},
        "versions": VERSIONS,
        "started_at": "2026-11-20T20:53:38Z",
        "finished_at": "2026-11-20T21:04:11Z",
        "shards": 2,
    }
    (output / "runs").mkdir(parents=True, exist_ok=True)
    (output / "runs" / f"{name}.json").write_text(json.dumps({**made, **fields}))


def training(output: Path, steps: int = 4000, every: int = 10, grid_px: int = 64) -> None:
    """A plausible pix2pix training: killed at three quarters, gone on from half way, finished."""
    (output / "logs" / "samples").mkdir(parents=True)
    segment(output, range(0, steps * 3 // 4, every), steps, attempt=0)
    segment(output, range(steps // 2, steps + 1, every), steps, attempt=1)
    for step in range(0, steps + 1, steps // 20):
        picture = sample_grid(step / steps, grid_px)
        (output / "logs" / "samples" / f"step-{step:08d}.png").write_bytes(png(picture))
    run = {
        "format": "recast-training/1",
        "recipe": "pix2pix",
        "preset": "facades",
        "spec": {"recipe": "pix2pix", "data": "s3://demo/facades", "steps": steps, "workers": 2, "precision": "bf16"},
        "versions": VERSIONS,
        "counts": {"examples": 400, "parameters": {"G": 54_413_955, "D": 2_768_705}},
        "status": "finished",
        "started_at": "2026-11-20T18:00:00Z",
        "finished_at": "2026-11-20T21:12:40Z",
        "steps": steps,
        "seconds": 11_560,
    }
    (output / "run.json").write_text(json.dumps(run))
    (output / "checkpoints").mkdir()
    for step in (steps // 2, steps):
        (output / "checkpoints" / f"step-{step:08d}.pt").touch()
    (output / "bundle").mkdir()
    (output / "bundle" / "bundle.json").write_text(
        json.dumps({"name": "pix2pix facades", "network": "unet_256", "digest": MODEL})
    )


def segment(output: Path, logged: range, steps: int, attempt: int) -> None:
    """One `scalars-*.jsonl`, as one attempt at training writes it."""
    noise = random.Random(attempt)
    lines = []
    for step in logged:
        share = step / steps
        time = WHEN + datetime.timedelta(hours=3 * attempt, seconds=0.5 * step)
        decay = math.exp(-4 * share)
        lines.append(
            {
                "step": step,
                "time": time.isoformat(timespec="seconds"),
                "images_per_s": 5.1 + noise.gauss(0, 0.15) - (2 if step == logged.start else 0),
                "waiting": max(0.0, 0.02 + noise.gauss(0, 0.01)),
                "lr": 2e-4 * min(1.0, 2 * (1 - share)),
                "G adversarial": 0.75 + 0.6 * share + noise.gauss(0, 0.14) + 0.8 * math.exp(-30 * share),
                "G L1": 100 * (0.09 + 0.22 * decay) * math.exp(noise.gauss(0, 0.12)),
                "D real": 0.69 - 0.14 * share + noise.gauss(0, 0.07),
                "D fake": 0.69 - 0.2 * share + noise.gauss(0, 0.08),
                "D(x)": min(1, 0.5 + 0.13 * share + noise.gauss(0, 0.05)),
                "D(G(z))": max(0, 0.5 - 0.14 * share + noise.gauss(0, 0.05)),
            }
        )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (output / "logs" / f"scalars-{logged.start:08d}.jsonl").write_text(text)


def sample_grid(share: float, cell_px: int) -> Image.Image:
    """Six rows of input | output | target; the output comes to resemble the target as `share` goes to 1."""
    pitch = cell_px + 4
    grid = Image.new("RGB", (3 * pitch - 4, 6 * pitch - 4), "white")
    for i in range(6):
        label, target = facade(i, cell_px, plain=True), facade(i, cell_px, plain=False)
        grey = Image.new("RGB", target.size, (128, 124, 120))
        output = Image.blend(grey, Image.blend(label, target, min(1.0, share * 1.1)), min(1.0, 0.15 + share * 2))
        for column, picture in enumerate((label, output, target)):
            grid.paste(picture, (column * pitch, i * pitch))
    return grid


def facade(seed: int, size_px: int, *, plain: bool) -> Image.Image:
    """A house front: labels in flat colours, or something like a photograph of it."""
    dice = random.Random(seed)
    wall = dice.choice([(196, 164, 132), (172, 96, 72), (206, 198, 180), (142, 148, 158)])
    image = Image.new("RGB", (size_px, size_px), (0, 60, 220) if plain else wall)
    draw = ImageDraw.Draw(image)
    across, floors = dice.randint(3, 5), dice.randint(3, 5)
    cell_w, cell_h = size_px / across, size_px / floors
    for x in range(across):
        for y in range(floors):
            box = [(x + 0.25) * cell_w, (y + 0.2) * cell_h, (x + 0.75) * cell_w, (y + 0.8) * cell_h]
            draw.rectangle(box, (0, 170, 255) if plain else (52, 60, 74), None if plain else (240, 236, 228))
            draw.line([box[0], box[3], box[2], box[3]], (255, 80, 0) if plain else (90, 80, 70), max(1, size_px // 48))
    if not plain:
        grain = Image.effect_noise(image.size, 22).convert("RGB")
        image = Image.blend(image, grain, 0.14)
    return image


class Page(HTMLParser):
    """What a browser would make of a page: its words, its elements' attributes, its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.attributes, self.elements = "", [], []
        self.feed(html.replace("/<wbr>", "/"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        if self.elements and self.elements[-1] not in ("style", "script"):
            self.text += data + " "

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]
