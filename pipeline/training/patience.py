"""How often a training's workers may be lost: without limit, as long as checkpoints are reached in between."""

from recast.pipeline import events
from recast.pipeline.reasons import plural
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.settings import TrainingError, TrainingSpec


class Patience:
    """Counts losses between which no checkpoint was reached."""

    def __init__(self, plan: TrainingSpec) -> None:
        self._plan = plan
        self._failures, self._reached = 0, self._newest()
        self._log = events.driver_log(recipe=plan.recipe, output=plan.output)

    def lost(self, why: str, fault: Exception) -> None:
        """The workers were lost. Raises TrainingError if that happened too often without progress."""
        before, self._reached = self._reached, self._newest()
        self._failures = 1 if self._reached > before else self._failures + 1
        self._log.warning("workers lost", step=self._reached, failures=self._failures)
        if self._failures > self._plan.max_failures:
            raise TrainingError(
                f"the training's workers failed {plural(self._failures, 'time')} without reaching another checkpoint. "
                f"The last: {why}"
            ) from fault

    def _newest(self) -> int:
        return max(Checkpoints(self._plan.output).steps(), default=0)
