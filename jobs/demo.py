"""`recast demo`: the whole story on this machine: draw, train, translate, upscale, verify, look."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from recast.jobs import bulk
from recast.jobs.demo_scores import Scores, score
from recast.jobs.exit_status import DONE, FAILED
from recast.jobs.object_store import local_object_store
from recast.jobs.samples.facades import write_facades
from recast.jobs.samples.photos import write_photos
from recast.jobs.specs import SpecError, TranslateOptions, UpscaleOptions
from recast.jobs.training_progress import TrainingProgress
from recast.pipeline import cluster, events, report
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.training import road as training
from recast.pipeline.training.settings import TrainingSpec

BUCKET = "recast-demo"
MARKER = ".recast-demo"
"""The file that marks a folder as a demo's own."""
FACADES, FACADE_PX, HELD_OUT = 240, 128, 24


@dataclass(frozen=True, slots=True)
class Places:
    """Where the demo's parts lie, as URLs below one root."""

    facades: str
    photos: str
    training: str
    translated: str
    upscaled: str

    @staticmethod
    def below(root: str) -> "Places":
        return Places(*(f"{root}/{name}" for name in ("facades", "photos", "training", "translated", "upscaled")))


def run(folder: str, *, local: bool) -> int:
    """Run the demo in a folder that is new, empty, or an earlier demo's, which it empties; `local` leaves the object
    store out. Returns the exit status.

    Raises:
        SpecError: something else is in the folder.
    """
    began = time.monotonic()
    home = Path(folder)
    _empty(home)
    tell = Teller()
    with _storage(home, local, tell) as root, cluster.connected():
        places = Places.below(root)
        _draw(places, tell)
        _train(places, tell)
        status = _map(places, tell)
        scores = score(f"{places.facades}/train", f"{places.facades}/test/targets.tar", places.translated)
        sound = _verify(places, tell)
        pages = _report(places, home)
    _say(scores, pages, time.monotonic() - began)
    return DONE if status == DONE and sound and scores.beaten else FAILED


def _empty(home: Path) -> None:
    """Make the folder, or remove what an earlier demo left in it, and mark it as a demo's."""
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise SpecError(f"{home} is not a folder of its own; give the demo a new one")
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise SpecError(f"{home} holds files that no demo made; the demo empties its folder, so give it a new one")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).write_text("`recast demo` made what is in this folder, and removes it when it runs here again.\n")


class Teller:
    """Numbers the demo's chapters, on stderr."""

    def __init__(self) -> None:
        self._console, self._chapter = Console(stderr=True, highlight=False), 0

    def __call__(self, title: str) -> None:
        self._chapter += 1
        self._console.print(f"\n[bold]{self._chapter}. {title}[/bold]")


@contextlib.contextmanager
def _storage(home: Path, local: bool, tell: Teller) -> Iterator[str]:
    """The root that everything lies below: a bucket of a real S3 server started for the demo, or a folder."""
    if local:
        yield str((home / "data").absolute())
        return
    tell("Start a local object store (rclone serve s3)")
    with local_object_store(home / "object-store") as store:
        store.make_bucket(BUCKET)
        with store.exported():
            yield f"s3://{BUCKET}"


def _draw(places: Places, tell: Teller) -> None:
    tell(f"Draw {FACADES} house fronts with their label maps, and put real photographs beside them")
    write_facades(places.facades, train=FACADES, val=8, test=HELD_OUT, size_px=FACADE_PX)
    write_photos(places.photos, max_side_px=512)


def _train(places: Places, tell: Teller) -> None:
    tell("Train pix2pix on them: labels to photographs, two workers")
    plan = TrainingSpec(
        recipe="pix2pix",
        preset="demo",
        data=f"{places.facades}/train",
        output=places.training,
        workers=2,
        checkpoint_every=200,
        precision=_fast_precision(),
    )
    with TrainingProgress(places.training) as progress:
        training.train(plan, progress)


def _fast_precision() -> Literal["fp32", "bf16"]:
    import torch

    return "bf16" if torch.cpu._is_amx_tile_supported() or torch.cuda.is_available() else "fp32"


def _map(places: Places, tell: Teller) -> int:
    tell(f"Translate an archive of {HELD_OUT} label maps that were held out, with the trained bundle")
    options = TranslateOptions(model=f"{places.training}/bundle")
    labels = f"{places.facades}/test/labels.tar"
    status = bulk.run(options.job("translate", labels, places.translated, options.model), options)
    tell("Upscale real photographs with the bundle that ships with Recast")
    upscaling = UpscaleOptions()
    job = upscaling.job("upscale", f"{places.photos}/test", places.upscaled, upscaling.bundle())
    return bulk.run(job, upscaling) or status


def _verify(places: Places, tell: Teller) -> bool:
    tell("Verify both outputs: every image's bytes against the index")
    verdicts = {url: verify(url) for url in (places.translated, places.upscaled)}
    for url, verdict in verdicts.items():
        print(f"{url}: {verdict.rows} rows, {verdict.ok} images re-checked, {len(verdict.faults)} faults")
        for fault in verdict.faults:
            events.say(fault)
    return not any(verdict.faults for verdict in verdicts.values())


def _report(places: Places, home: Path) -> list[str]:
    """A page for each output, on local disk, since the object store stops with the demo."""
    named = {"training": places.training, "translated": places.translated, "upscaled": places.upscaled}
    return [report.write(url, str((home / f"{name}.html").absolute())) for name, url in named.items()]


def _say(scores: Scores, pages: list[str], seconds: float) -> None:
    print(
        f"translated facades against their photographs: {scores.translated_db:.2f} dB PSNR; "
        f"each label in its mean colour: {scores.baseline_db:.2f} dB"
    )
    print("reports:", *pages, sep="\n  ")
    print(f"done in {seconds:.0f} s", file=sys.stderr)
