"""`recast train`: a recipe on a person's own images."""

from typing import Annotated

from cyclopts import Parameter

from recast.jobs.arguments import RecipeName
from recast.jobs.specs import TrainOptions


def train(recipe: RecipeName, *, options: Annotated[TrainOptions, Parameter(name="*")]) -> int:
    """Train RECIPE on images, on this machine or the cluster that RAY_ADDRESS names; rerun to resume.

    Example: `recast train pix2pix --data pairs/ --output runs/facades --preset demo`
    """
    from recast.jobs import train

    return train.run(recipe, options)
