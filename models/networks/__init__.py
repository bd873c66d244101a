"""The networks, by the names that bundles and recipes call them."""

from torch import nn

NETWORKS: dict[str, type[nn.Module]] = {}
