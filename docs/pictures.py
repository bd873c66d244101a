"""Makes every picture of the README and of docs/ again, by Recast's own commands.

    make pictures                                # all of them: an hour or two on a CPU, most of it trainings
    python docs/pictures.py upscaled faces-three # some, by their names

Sources are scikit-image's photographs and Recast's own drawings, so nothing is downloaded and nobody's data are shown.
Commands run in WORK and resume there: what is trained once is not trained again. A page is photographed by Chromium.
Pictures of trainings are the `preview.png` of their bundles.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
IMAGES, WORK = ROOT / "docs" / "images", ROOT / "pictures-out"
MOST_BYTES = 120_000
GAP_PX = 12
CELL_GAP_PX = 4
"""Between the samples of a preview.png."""
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")

PEOPLE = ("--data", "faces/people/train", "--annotations", "faces/people/train.parquet")
CYCLEGAN = (
    "size_px=64", "load_px=72", "blocks=2", "ngf=16", "ndf=16",
    "batch_size=1", "learning_rate=5e-4", "ema_decay=0.98",
)  # fmt: skip
"""Settings that show something within minutes."""
TRAININGS: dict[str, tuple[str, ...]] = {
    "pix2pix": ("--preset", "demo", "--data", "facades/train"),
    "cgan": ("--preset", "small", "--steps", "1000", "--data", "shapes"),
    "retinaface": (
        "--preset", "tiny", "--steps", "800",
        "--data", "faces/scenes/train", "--annotations", "faces/scenes/train.parquet",
    ),
    "deidentify": ("--preset", "tiny", "--steps", "300", *PEOPLE),
    "recognizer": ("--preset", "tiny", "--steps", "400", *PEOPLE),
    "classifier": ("--preset", "small", "--steps", "600", "--data", "shapes"),
    "centernet": (
        "--preset", "tiny", "--data", "street/train", "--annotations", "street/train/instances.json",
    ),
    "mask_rcnn": (
        "--preset", "tiny", "--data", "street/train", "--annotations", "street/train/instances.json",
    ),
    "cyclegan": (
        "--preset", "small", "--steps", "300", "--data-a", "labels", "--data-b", "fronts",
        *(word for setting in CYCLEGAN for word in ("--set", setting)),
    ),
}  # fmt: skip
"""What `recast train` is asked for, by recipe: fewer steps than the presets have where the captions say so."""

SAMPLES: dict[str, tuple[str, ...]] = {
    "photos": (),
    "facades": ("--count", "240", "--size", "128"),
    "faces": ("--count", "300"),
    "shapes": ("--count", "1400", "--size", "64"),
    "street": ("--count", "400"),
}
"""What `recast sample` is asked for, by kind."""


def recast(*words: str) -> None:
    """Run a command of Recast in WORK. Raises CalledProcessError: it failed, and has said why."""
    print("recast", *words, flush=True)
    subprocess.run([sys.executable, "-m", "recast", *words], cwd=WORK, check=True)


def sample(kind: str) -> Path:
    """The folder of a data set, written where it is not there yet."""
    if not (WORK / kind).exists():
        recast("sample", kind, kind, *SAMPLES[kind])
    return WORK / kind


def unpaired() -> None:
    """Write label maps of one half of the drawn house fronts to labels/, and the fronts of the other to fronts/."""
    pairs = sorted((sample("facades") / "train").glob("*.png"))
    for folder, left, some in (("labels", 128, pairs[::2]), ("fronts", 0, pairs[1::2])):
        (WORK / folder).mkdir(exist_ok=True)
        for pair in some:
            opened(str(pair)).crop((left, 0, left + 128, 128)).save(WORK / folder / pair.name)


def trained(recipe: str) -> str:
    """The bundle of a training, as a path below WORK; one that is finished is left alone."""
    words = TRAININGS[recipe]
    if "--data" in words:
        sample(words[words.index("--data") + 1].partition("/")[0])
    else:
        unpaired()
    recast("train", recipe, "--output", f"runs/{recipe}", "--on", "here", "--checkpoint-every", "300", *words)
    return f"runs/{recipe}/bundle"


def made(job: str, source: str, result: str, *words: str) -> Image.Image:
    """What a job makes of one image."""
    recast(job, source, result, "--replace", "--on", "here", *words)
    return opened(result)


def opened(name: str) -> Image.Image:
    """A picture below WORK, in RGB."""
    with Image.open(WORK / name) as image:
        return image.convert("RGB")


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height in a row."""
    width = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    row, left = Image.new("RGB", (width, pictures[0].height), "white"), 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + GAP_PX
    return row


def screenshot(page: str, width: int, height: int) -> Image.Image:
    """The top of a page below WORK, as a window of so many pixels shows it."""
    if not shutil.which(CHROMIUM[0]):
        raise SystemExit("pictures of pages are taken by Chromium: apt install chromium")
    target, size = WORK / "page.png", f"--window-size={width},{height}"
    command = [*CHROMIUM, size, f"--screenshot={target}", (WORK / page).as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return opened("page.png")


def save(picture: Image.Image, name: str) -> None:
    """Write docs/images/NAME.webp at the best quality that keeps it below MOST_BYTES."""
    target = IMAGES / f"{name}.webp"
    for quality in range(90, 20, -10):
        picture.save(target, quality=quality, method=6)
        if target.stat().st_size <= MOST_BYTES:
            return
    raise ValueError(f"{target} has {target.stat().st_size:,} bytes, and {MOST_BYTES:,} are allowed")


def halved(photograph: str) -> str:
    """A held-out photograph at half its size, where it is sharp; by its path below WORK."""
    with Image.open(sample("photos") / "test" / f"{photograph}.png") as image:
        half = image.convert("RGB").reduce(2)
    half.save(WORK / f"{photograph}.png")
    return f"{photograph}.png"


def upscaled(photograph: str, left: int, top: int) -> Image.Image:
    """400 px of a photograph enlarged four times: by the bicubic filter | by the bundle that ships."""
    source = halved(photograph)
    after = made("upscale", source, f"{photograph}-x4.png", "--scale", "4")
    before = opened(source).resize(after.size, Image.Resampling.BICUBIC)
    return beside([image.crop((left, top, left + 400, top + 400)) for image in (before, after)])


def astronaut(*methods: str) -> Image.Image:
    """The astronaut's head, before | after each method."""
    source = str(sample("photos").relative_to(WORK) / "train" / "astronaut.png")
    after = [made("deidentify", source, f"{m}.png", "--method", m, "--scales", "1") for m in methods]
    return beside([image.crop((60, 0, 420, 360)) for image in (opened(source), *after)])


def brought_back() -> Image.Image:
    """Published | restored with the passcode."""
    sample("faces")
    (WORK / "passcode.txt").write_text("six words that nobody else knows\n")
    (WORK / "portrait").mkdir(exist_ok=True)
    opened("photos/train/astronaut.png").save(WORK / "portrait" / "astronaut.png")
    common = ("--passcode-file", "passcode.txt", "--on", "here", "--shards", "files")
    recast("deidentify", "portrait", "sealed", "--seal", "--method", "blur", "--scales", "1", "--replace", *common)
    recast("restore", "sealed", "restored", "--replace", *common)
    shown = ("portrait/astronaut.png", "sealed/files/astronaut.png", "restored/files/astronaut.png")
    return beside([opened(name).crop((60, 0, 420, 360)) for name in shown])


def report(output: str, width: int = 1280, height: int = 1200) -> Image.Image:
    """The top of the page that `recast report` makes of an output or a training."""
    recast("report", output, "--replace", "--to", f"{output}.html")
    return screenshot(f"{output}.html", width, height)


def report_of_upscaling() -> Image.Image:
    sample("photos")
    recast("upscale", "photos/test", "enlarged", "--on", "here")
    return report("enlarged")


def report_of_translation() -> Image.Image:
    bundle = trained("pix2pix")
    recast("translate", "facades/test/labels.tar", "translated", "--model", bundle, "--on", "here")
    return report("translated")


def report_of_training() -> Image.Image:
    trained("pix2pix")
    return report("runs/pix2pix")


def preview_of_faces() -> Image.Image:
    sample("faces")
    words = ("--preview", "12", "--method", "blur", "--replace", "--on", "here")
    recast("deidentify", "faces/scenes/test", "looked-at", *words)
    return screenshot("looked-at/preview.html", 1280, 2500).crop((0, 1380, 1280, 2500))


def audit() -> Image.Image:
    sample("faces")
    recast("deidentify", "faces/scenes/test", "faceless", "--method", "pixelate", "--limit", "12", "--on", "here")
    recast("audit", "faceless", "--replace")
    return screenshot("faceless/audit.html", 1280, 1900)


def annotated(*scenes: int) -> Image.Image:
    """What the detector that `retinaface` trains sees in some drawn scenes."""
    bundle = trained("retinaface")
    words = ("--model", bundle, "--draw", "overlay")
    names = [f"scene-{n:05}.png" for n in scenes]
    return beside([made("annotate", f"faces/scenes/test/{name}", f"seen-{name}", *words) for name in names])


def streets(recipe: str, above: str, *scenes: int) -> Image.Image:
    """What the network that a recipe trains sees in some drawn streets that it never saw."""
    bundle = trained(recipe)
    words = ("--model", bundle, "--draw", "overlay", "--draw-above", above)
    return beside([made("annotate", f"street/test/{n:05}.png", f"{recipe}-{n:05}.png", *words) for n in scenes])


def preview(
    recipe: str, rows: int = 3, columns: int = 3, blocks: int = 2, enlarged: int = 1
) -> Callable[[], Image.Image]:
    """Samples of a bundle's preview.png: input | output | target, or what there is of them, in blocks side by side."""

    def picture() -> Image.Image:
        image = opened(f"{trained(recipe)}/preview.png")
        pitch = (image.width + CELL_GAP_PX) // columns
        tops = [n * rows * pitch for n in range(blocks)]
        shown = beside([image.crop((0, top, image.width, top + rows * pitch - CELL_GAP_PX)) for top in tops])
        return shown.resize((enlarged * shown.width, enlarged * shown.height), Image.Resampling.NEAREST)

    return picture


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "upscaled": lambda: upscaled("coffee", 300, 150),
    "upscaled-cat": lambda: upscaled("chelsea", 230, 100),
    "deidentified": lambda: astronaut("blur"),
    "methods": lambda: astronaut("solid", "pixelate", "blur"),
    "restored": brought_back,
    "report": report_of_upscaling,
    "report-translation": report_of_translation,
    "report-training": report_of_training,
    "preview": preview_of_faces,
    "audit": audit,
    "annotated": lambda: annotated(0, 1, 3, 7),
    "recipe-pix2pix": preview("pix2pix"),
    "recipe-cyclegan": preview("cyclegan", enlarged=2),
    "recipe-centernet": lambda: streets("centernet", "0.3", 0, 1, 2, 5),
    "recipe-mask-rcnn": lambda: streets("mask_rcnn", "0.6", 0, 1, 2, 5),
    "recipe-retinaface": preview("retinaface", rows=2),
    "recipe-deidentify": preview("deidentify", enlarged=2),
    "recipe-recognizer": preview("recognizer", columns=2, enlarged=2),
    "recipe-classifier": preview("classifier", columns=2, enlarged=2),
    "recipe-cgan": preview("cgan", rows=6, columns=6, blocks=1, enlarged=2),
}
"""The pictures by their names in docs/images."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default; {', '.join(PICTURES)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(PICTURES):
        parser.error(f"no picture is called {', '.join(sorted(unknown))}")
    WORK.mkdir(exist_ok=True)
    for name in names or PICTURES:
        save(PICTURES[name](), name)


if __name__ == "__main__":
    main()
