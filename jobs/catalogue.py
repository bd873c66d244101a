"""`recast models`: which bundles and recipes there are, and what a bundle says of itself."""

import dataclasses
import json
import tempfile
from pathlib import Path

from PIL import Image
from torch import nn

from recast.jobs import next_steps
from recast.jobs.exit_status import DONE
from recast.jobs.samples.facades import draw_facade
from recast.jobs.specs import SpecError
from recast.models import bundle as bundle_files
from recast.models import foreign
from recast.models.description import Bundle, BundleError, to_json
from recast.models.descriptor import Descriptor
from recast.models.exchange import FORMATS, exported
from recast.models.looks import Category
from recast.models.networks import NETWORKS
from recast.models.recipes import RECIPES
from recast.models.shipped import SHIPPED, shipped
from recast.pipeline import bundles, events, storage
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.reasons import plural

PREVIEW_PX = 128


def listing() -> int:
    """The shipped bundles and the recipes that train others."""
    for name in SHIPPED:
        bundle = bundles.describe(str(shipped(name)))
        events.show(
            f"bundle {name:12} {bundle.name}, {bundle.descriptor.task} x{bundle.descriptor.scale}, {bundle.digest}"
        )
    for name, entry in RECIPES.items():
        print(f"recipe {name:12} presets: {', '.join(entry.presets)}")
    return DONE


def show(name: str, url: str) -> int:
    """What a bundle says of itself, its weights checked; for a recipe, where to look."""
    if name in RECIPES and not Path(name).exists():
        raise SpecError(f"{name} is a recipe; `recast train {name} --help` shows its presets and settings")
    bundle, _ = bundles.fetch(url).unpack()
    print(json.dumps(to_json(bundle), indent=2))
    return DONE


def import_file(url: str, target: str, *, name: str | None, key: str = "", categories: tuple[str, ...] = ()) -> int:
    """Make a bundle of another program's checkpoint; `categories` name what a network finds."""
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        data = storage.read_bytes(fs, path)
    file = path.rpartition("/")[2]
    found = foreign.identify(foreign.read(data, file), file, key)
    network = NETWORKS[found.network](**found.arguments)
    network.load_state_dict(found.state)
    record = {"imported": file, "recognised as": found.family, **({"note": found.note} if found.note else {})}
    described = Bundle(
        name=name or file.rpartition(".")[0], recipe="import", network=found.network, arguments=found.arguments,
        descriptor=_named(found.descriptor, categories), training=record,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        whole = bundle_files.write(described, network, Path(folder))
        _preview(network, whole).save(Path(folder) / "preview.png")
        bundles.upload(Path(folder), target)
    d = whole.descriptor
    given = f"for {len(d.looks.categories):,} categories" if d.looks else f"x{d.scale}"
    events.show(f"{target}: {found.family}, {d.task} {given}, {whole.digest}")
    if command := next_steps.use(target, d.task):
        next_steps.say(f"`{command}`")
    if found.note:
        events.show(f"note: {found.note}")
    return DONE


def _named(descriptor: Descriptor, names: tuple[str, ...]) -> Descriptor:
    """The descriptor with what a user calls its categories. Raises SpecError for names that can't be theirs."""
    if not names:
        return descriptor
    if descriptor.looks is None:
        raise SpecError("--categories: this network finds nothing in images; leave them out")
    if len(names) != (count := len(descriptor.looks.categories)):
        raise SpecError(f"--categories: {plural(len(names), 'name')} for a network of {count:,}")
    try:
        categories = tuple(Category(id=n, name=name) for n, name in enumerate(names, 1))
        return dataclasses.replace(descriptor, looks=dataclasses.replace(descriptor.looks, categories=categories))
    except ValueError as fault:
        raise SpecError(f"--categories: {fault}") from fault


def _preview(network: nn.Module, bundle: Bundle) -> Image.Image:
    """A drawn house front and what the generator makes of it, side by side."""
    picture = Picture(pixels=draw_facade(0, "val", 0, PREVIEW_PX).photo)
    if bundle.descriptor.task == "detect" or bundle.descriptor.looks:
        return Image.fromarray(picture.pixels)  # there is no picture of what a detector makes
    generator = Generator(network.eval(), bundle.descriptor, device="cpu", precision="fp32", batch_size=1)
    (result,) = generator([picture])
    if isinstance(result, InputError):
        raise BundleError(f"{bundle.name} can't be run: {result}")
    assert result.picture is not None
    pixels = result.picture.pixels
    after = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    both = Image.new("RGB", (2 * after.width, after.height))
    both.paste(Image.fromarray(picture.pixels).resize(after.size, Image.Resampling.NEAREST))
    both.paste(after, (after.width, 0))
    return both


def export(url: str, target: str) -> int:
    """Write a bundle's generator in a form that other programs run."""
    ending = "." + target.rpartition(".")[2]
    if ending not in FORMATS:
        raise BundleError(f"{target} ends in none of {', '.join(FORMATS)}, which say what to export to")
    described, network = bundles.fetch(url).unpack()
    fs, path = storage.filesystem(target)
    data, off = exported(network, described.descriptor, ending)
    with storage.faults_as_sentences(f"writing {target}"):
        storage.write_bytes(fs, path, data)
    facts = json.dumps(dataclasses.asdict(described.descriptor))
    print(
        f"{target}: {FORMATS[ending]}, run and within {off:.1g} of the bundle's own result; it takes and gives {facts}"
    )
    return DONE
