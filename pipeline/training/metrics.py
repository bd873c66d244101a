"""What a training tells Prometheus through Ray's metrics endpoint: gauges, tagged with its output."""

import time
from collections.abc import Mapping

from ray.util.metrics import Gauge

TAGS = ("recipe", "output")


class TrainingMetrics:
    """Metrics of one training run; its first worker sets them."""

    def __init__(self, recipe: str, output: str) -> None:
        self._tags = {"recipe": recipe, "output": output}
        self._scalars = Gauge("recast_training_scalar", "Losses and other scalars, by name", (*TAGS, "name"))
        self._step = Gauge("recast_training_step", "Steps done", TAGS)
        self._speed = Gauge("recast_training_images_per_second", "Examples a second, of all workers", TAGS)
        self._checkpoint = Gauge(
            "recast_training_checkpoint_timestamp_seconds", "When the newest checkpoint was begun", TAGS
        )

    def logged(self, step: int, scalars: Mapping[str, float]) -> None:
        self._step.set(step, self._tags)
        self._speed.set(scalars.get("images_per_s", 0.0), self._tags)
        for name, value in scalars.items():
            self._scalars.set(value, {**self._tags, "name": name})

    def checkpointed(self) -> None:
        self._checkpoint.set(time.time(), self._tags)
