"""A job of the command line, as `recast.Job` runs it from Python: the same options, checks and results."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recast.jobs import planning
from recast.pipeline.bulk.job import Summary
from recast.pipeline.training.road import Outcome

Told = Callable[[int, int, Mapping[str, float]], object]
"""What is called while a job runs: with how much is done, how much there is to do, and what else is known by name."""


class Job:
    """A job as `recast COMMAND …` would run it.

    summary = recast.Job("upscale", "photos/", "out/", scale=4, shard_images=500).run()
    outcome = recast.Job("train", "pix2pix", data="pairs/", output="run", set={"batch_size": 4}).run()
    """

    def __init__(self, command: str, *arguments: str, **options: Any) -> None:
        """
        Args:
            command: `upscale`, `translate`, `deidentify`, `restore` or `train`.
            arguments: SOURCE and OUTPUT, or the recipe.
            options: those of the command line, `_` for `-`. None leaves one out, True and False turn one on and off; of
                a list each is given, and of a mapping each as key=value.

        Raises:
            SpecError, ValidationError, CycloptsError: the command line wouldn't take it.
        """
        self.command = (command, *arguments, *_words(options))
        self._plan = planning.planned(self.command)

    def run(self, progress: Told | None = None, says: Callable[[str], object] | None = None) -> Summary | Outcome:
        """Run it to its end, here or on the cluster that RAY_ADDRESS names. Running it again resumes it.

        Args:
            progress: is told of every bit of progress.
            says: is told what a person should know, a sentence at a time.

        Returns:
            What a bulk job did: counts, seconds, failures by kind; or how a training ended.

        Raises:
            The exceptions that the command would end with; their messages are sentences.
        """
        return self._plan(_Progress(progress, says))

    def __repr__(self) -> str:
        return f"<recast.Job {' '.join(self.command)}>"


class _Progress:
    """Tells a caller of a run's progress."""

    def __init__(self, progress: Told | None, says: Callable[[str], object] | None) -> None:
        self._told, self._says, self._total = progress, says, 0

    def planned(self, total: int, done: int) -> None:
        self._total = total - done
        self.reached(0, {})

    def reached(self, done: int, facts: Mapping[str, float]) -> None:
        if self._told:
            self._told(done, self._total, facts)

    def says(self, sentence: str) -> None:
        if self._says:
            self._says(sentence)


def _words(options: Mapping[str, Any]) -> Iterable[str]:
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True or value is False:
            yield flag if value else f"--no-{flag[2:]}"
        elif isinstance(value, Mapping):
            for key, each in value.items():
                yield from (flag, f"{key}={each}")
        elif isinstance(value, (list, tuple)):
            for each in value:
                yield from (flag, str(each))
        elif value is not None:
            yield from (flag, str(value))
