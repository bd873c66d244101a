"""A training reduced to what it publishes: a checkpoint and a bundle after every step, and going on from the newest."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import torch
from PIL import Image
from torch import nn

from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS
from recast.models.recipes.recipe import RecipeConfig
from recast.pipeline import bundles, storage
from recast.pipeline.output.lease import Lease
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.progress import Teller
from recast.pipeline.training.records import Records
from recast.pipeline.training.worker import Worker
from tests.pipeline.protocol.commands import Command
from tests.pipeline.protocol.invocation import at
from tests.pipeline.protocol.store import PROTOCOL, Bucket

TRAINING = f"{PROTOCOL}://b/training"
ARGUMENTS = {"scale": 2, "channels": 4, "blocks": 1}
LAST, KEPT = 4, 2


def train(last: int = LAST) -> None:
    """From the newest checkpoint to the last step, as the holder of the output's lease; a "step" adds one to every
    weight. Storage's faults are told as a worker of a training tells them."""
    fs, root = storage.filesystem(TRAINING)
    with storage.faults_as_sentences("training"), Lease(fs, root, "training") as lease:
        checkpoints = Checkpoints(TRAINING)
        start = newest(checkpoints)
        records = _records(checkpoints, lease.confirm)
        for step in range(start + 1, last + 1):
            state, preview = {"weights": torch.tensor(step)}, Image.new("RGB", (2, 2))
            records._submit(records._write, step, state, _network(step), preview, False)
            records._raise_faults()


def newest(checkpoints: Checkpoints) -> int:
    """The step that a worker goes on with."""
    return Worker._newest(SimpleNamespace(checkpoints=checkpoints, teller=Teller(None, None)))


def _network(step: int) -> nn.Module:
    network = NETWORKS["edsr"](**ARGUMENTS)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(step)
    return network


def _records(checkpoints: Checkpoints, confirmed: Callable[[], None]) -> Records:
    facts = {"preset": "", "seed": 0, "workers": 1, "precision": "fp32", "data": "data", "bundle_precision": "fp32"}
    facts |= {"data_a": None, "data_b": None}
    plan = SimpleNamespace(output=TRAINING, recipe="srresnet", keep_checkpoints=KEPT, **facts)
    described = SimpleNamespace(network="edsr", arguments=ARGUMENTS, descriptor=Descriptor(task="upscale", scale=2))
    assets = SimpleNamespace(digests={}, assets=SimpleNamespace(classes=()))
    recipe, road = SimpleNamespace(exported=described), SimpleNamespace(device="cpu")
    config = RecipeConfig(steps=LAST, batch_size=1, learning_rate=1e-3)
    return Records(plan, config, recipe, road, checkpoints, {}, {}, assets, confirmed)


def _published(bucket: Bucket) -> Iterator[str]:
    """The newest checkpoints, each as it was written, and the bundle of the last step. A crash right after the very
    last checkpoint may leave one more."""
    found: list[str] = []

    def look() -> None:
        checkpoints = Checkpoints(TRAINING)
        steps = checkpoints.steps()
        if steps[-KEPT:] != list(range(LAST - KEPT + 1, LAST + 1)) or len(steps) > KEPT + 1:
            found.append(f"there are checkpoints of {steps}")
        found.extend(f"step {s} is {w}" for s in steps if (w := int(checkpoints.load(s)["weights"])) != s)
        bundle, network = bundles.fetch(f"{TRAINING}/bundle").unpack()
        if bundle.training["step"] != LAST or {float(p.mean()) for p in network.parameters()} != {float(LAST)}:
            found.append(f"the bundle is of step {bundle.training['step']}")

    at(bucket, "look", look)
    known = {f"checkpoints/step-{step:08d}.pt" for step in range(LAST + 1)}
    known |= {f"bundle/{name}" for name in ("bundle.json", "generator.safetensors", "README.md", "preview.png")}
    yield from found
    yield from (f"{path} is left" for path in bucket.below("b/training") if path not in {*known, "lease.json"})


def _goes_on(bucket: Bucket) -> Iterator[str]:
    """Wherever it stopped, it goes on from no earlier than before."""
    found: list[int] = []
    at(bucket, "look", lambda: found.append(newest(Checkpoints(TRAINING))))
    if found[0] < LAST // 2:
        yield f"it would go on from step {found[0]}"


CHECKPOINTS = Command(
    name="publish checkpoints",
    prepare=lambda bucket: at(bucket, "before", lambda: train(LAST // 2)),
    run=train,
    meanwhile=_goes_on,
    after=_published,
)
