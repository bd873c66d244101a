"""How many processors this process may use."""

import os


def cores() -> int:
    """Logical CPUs, as far as this process is confined to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
