"""Train image-to-image GANs on a Ray cluster and run them over whole image archives.

For one image: `upscale`, `translate`, `deidentify`; `load` keeps a bundle's network for many. `open` reads the output
of a bulk job, and `Job` runs what the command line runs. Each is imported when it is first used: torch takes seconds.

`recast.jobs`, `recast.pipeline` and `recast.models` are the folders of those names at the top of the repository: links
lead there, so that editors, type checkers, tests, Ray's workers and the wheel all see one package.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.images import HeldError, Network, deidentify, load, translate, upscale
    from recast.job import Job
    from recast.outputs import Output, open

__all__ = ["HeldError", "Job", "Network", "Output", "deidentify", "load", "open", "translate", "upscale"]
__version__ = "0.1.0"
_MODULES = {"Job": "recast.job", "Output": "recast.outputs", "open": "recast.outputs"}
"""Where names are that are not of one image."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES.get(name, "recast.images")), name)
