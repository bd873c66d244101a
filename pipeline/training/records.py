"""What the first worker of a training writes: logs, sample grids, checkpoints and bundles, off the training's path."""

import copy
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from recast.models import bundle
from recast.models.description import Bundle
from recast.models.preview import sample_grid
from recast.models.recipes.phases import Batch
from recast.models.recipes.recipe import Recipe, RecipeConfig
from recast.pipeline import bundles, storage
from recast.pipeline.training.assets import TrainingAssets
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.log import TrainingLog
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.step import WorkerRoad
from recast.pipeline.training.validation import Validation


class Records:
    """One thread writes everything in order; the training waits for it only where two checkpoints would pile up."""

    def __init__(
        self,
        plan: TrainingSpec,
        config: RecipeConfig,
        recipe: Recipe,
        road: WorkerRoad,
        checkpoints: Checkpoints,
        samples: Batch,
        versions: Mapping[str, str],
        assets: TrainingAssets,
        confirmed: Callable[[], None],
        validation: Validation | None = None,
    ) -> None:
        """`confirmed` raises if the output isn't this training's any more."""
        self._validation = validation
        self._plan, self._config, self._recipe, self._road = plan, config, recipe, road
        self._checkpoints, self._versions, self._confirmed = checkpoints, versions, confirmed
        self._provisions = dict(assets.digests) | {"classes": list(assets.assets.classes)}
        self._samples = {name: images.to(road.device) for name, images in samples.items()}
        self._log = TrainingLog(plan.output, checkpoints.scratch)
        self._writer = ThreadPoolExecutor(1, "records")
        self._writing: list[Future[None]] = []

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        self._submit(self._log.close)
        self._writer.shutdown()
        self._raise_faults()

    def log(self, step: int, means: dict[str, float]) -> None:
        self._submit(self._log.scalars, step, means)

    def validated(self) -> dict[str, float]:
        """How the network does on the held-out examples; nothing where there are none."""
        if self._validation is None:
            return {}
        scores = self._validation.measured(copy.deepcopy(self._road.generator).eval(), self._road.device)
        self._validation.standing.note(scores)
        return scores

    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> None:
        """Copy what must be kept; what is written is the training as it is now."""
        for earlier in self._writing:
            earlier.result()
        state = {**_copied(self._road.state()), **facts}
        standing = self._validation.standing if self._validation else None
        if standing:
            state["validation"] = asdict(standing)
        best = standing is not None and not standing.since_best
        network = copy.deepcopy(self._road.generator).eval()
        with torch.no_grad():
            grid = sample_grid(self._recipe.preview(self._samples, network))
        self._submit(self._write, step, state, network.cpu(), grid, best)

    def _write(self, step: int, state: dict[str, Any], network: nn.Module, grid: Image.Image, best: bool) -> None:
        """The checkpoint comes last: what it says is done needs no repeating after a crash."""
        self._confirmed()
        png = self._log.samples(step, grid)
        self._export(step, network, png, best)
        self._log.flush()
        self._checkpoints.save(step, state, self._plan.keep_checkpoints, self._confirmed)

    def _export(self, step: int, network: nn.Module, preview: bytes, best: bool) -> None:
        """Put the bundle into the output, its description last; the best one so far also beside it."""
        exported, plan = self._recipe.exported, self._plan
        described = Bundle(
            name=f"{plan.recipe} {plan.preset or ''}".strip(),
            recipe=plan.recipe,
            network=exported.network,
            arguments=exported.arguments,
            descriptor=exported.descriptor,
            training={
                "preset": plan.preset,
                "step": step,
                "settings": asdict(self._config),
                "seed": plan.seed,
                "workers": plan.workers,
                "precision": plan.precision,
                "data": " and ".join(map(_without_place, filter(None, (plan.data, plan.data_a, plan.data_b)))),
                **self._provisions,
                "versions": dict(self._versions),
            },
        )
        with tempfile.TemporaryDirectory(prefix="recast-", dir=self._checkpoints.scratch) as folder:
            bundle.write(described, network.half() if plan.bundle_precision == "fp16" else network, Path(folder))
            (Path(folder) / "preview.png").write_bytes(preview)
            bundles.upload(Path(folder), storage.join(plan.output, "bundle"))
            if best:
                bundles.upload(Path(folder), storage.join(plan.output, "bundle", "best"))

    def _submit(self, write: Callable[..., None], *arguments: Any) -> None:
        self._raise_faults()
        self._writing.append(self._writer.submit(write, *arguments))

    def _raise_faults(self) -> None:
        """Raise what went wrong with earlier writes, and forget those that are done."""
        done = [future for future in self._writing if future.done()]
        self._writing = [future for future in self._writing if not future.done()]
        for future in done:
            future.result()


def _without_place(url: str) -> str:
    """A URL as it is; of a local path the last two names, for where a disk keeps them is nobody else's business."""
    return url if "://" in url else "/".join(Path(url).parts[-2:])


def _copied(value: Any) -> Any:
    """A deep copy, tensors on the CPU: training changes the originals in place while the copy is written."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(entry) for entry in value]
    return value
