"""`recast train`: a recipe on a person's own images."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.specs import TrainOptions


def train(recipe: str, *, options: Annotated[TrainOptions, Parameter(name="*")]) -> int:
    """Train RECIPE on images, on this machine or the cluster that RAY_ADDRESS names; rerun to resume."""
    from recast.jobs import train

    return train.run(recipe, options)
