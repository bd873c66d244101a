"""Which faults of a worker would come again, if a new one tried the same."""

import re
import sys

from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.lease import LeaseError
from recast.pipeline.training.settings import TrainingError

LASTING = (
    TrainingError, LeaseError, InputError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError,
    AttributeError, NameError, NotImplementedError, ImportError,
)  # fmt: skip
OF_OTHERS = re.compile(
    r"gloo|nccl|connect|peer|timed? ?out|socket|rendezvous|store|broken pipe|network|distributed|CUDA error|watchdog"
    r"|process group|unhandled|closed",
    re.IGNORECASE,
)
"""What torch says in a RuntimeError where another worker was lost, or a device failed."""


def comes_again(fault: BaseException) -> bool:
    """Whether a worker in this one's place would end in the same way. Storage, networks and lost workers recover."""
    if isinstance(fault, storage.StorageError) or storage.is_storage_fault(fault):
        return False
    if isinstance(fault, LASTING):
        return True
    return isinstance(fault, RuntimeError) and not _of_ray(fault) and not OF_OTHERS.search(str(fault))


def _of_ray(fault: BaseException) -> bool:
    """Whether Ray says it, of a worker, an object or a node that is gone; a training here has not loaded Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and isinstance(fault, ray.exceptions.RayError)
