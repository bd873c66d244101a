"""What a bulk run tells Prometheus through Ray's metrics endpoint: `ray_` before the names, `_total` after counters."""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from recast.pipeline.bulk.tally import STAGES, Collector

TAGS = ("job", "output")
STATUSES = ("ok", "failed", "held", "untried")


class Metrics:
    """Counters of one run, tagged with its job and its output."""

    def __init__(self, job: str, output: str) -> None:
        self._tags = {"job": job, "output": output}
        self._images = Counter("recast_images", "Inputs settled, by status", (*TAGS, "status"))
        self._bytes = Counter("recast_bytes", "Bytes read from sources and written to shards", (*TAGS, "direction"))
        self._seconds = Counter("recast_stage_seconds", "Workers' time by stage", (*TAGS, "stage"))
        self._shards = Counter("recast_shards", "Shards committed", TAGS)
        self._actors = Gauge("recast_actors", "Worker processes of the run", TAGS)
        self._left = Gauge("recast_inputs_left", "Inputs planned and not settled yet", TAGS)

    def record(self, counts: Mapping[str, int]) -> None:
        """Add what a worker counted since it last said so."""
        for status in STATUSES:
            self._add(self._images, counts.get(status, 0), status=status)
        for direction in ("read", "written"):
            self._add(self._bytes, counts.get(f"bytes_{direction}", 0), direction=direction)
        for stage in STAGES:
            self._add(self._seconds, counts.get(f"{stage}_us", 0) / 1e6, stage=stage)
        self._add(self._shards, counts.get("shards", 0))

    def actors(self, count: int) -> None:
        self._actors.set(count, self._tags)

    def left(self, inputs: int) -> None:
        self._left.set(max(inputs, 0), self._tags)

    def _add(self, counter: Counter, value: float, **tags: str) -> None:
        if value:  # Ray's counters refuse zero
            counter.inc(value, {**self._tags, **tags})


class MeteredCollector(Collector):
    """The collector of a run on Ray, which passes on what it hears."""

    def __init__(self, job: str, output: str) -> None:
        super().__init__()
        self._metrics = Metrics(job, output)
        self._planned = 0

    def set_planned(self, inputs: int, actors: int) -> None:
        """So many inputs are to be settled, in all, by so many workers."""
        self._planned = inputs
        self._metrics.actors(actors)
        self._say_left()

    def add(self, counts: dict[str, int]) -> None:
        super().add(counts)
        self._metrics.record(counts)
        self._say_left()

    def _say_left(self) -> None:
        done = self.counts()
        self._metrics.left(self._planned - sum(done.get(status, 0) for status in STATUSES))
