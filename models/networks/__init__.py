"""The networks, by the names that bundles and recipes call them."""

from torch import nn

from models.networks.edsr import EDSR
from models.networks.identity import Identity
from models.networks.msrresnet import MSRResNet
from models.networks.patchgan import PatchGAN
from models.networks.resnet_generator import ResnetGenerator
from models.networks.rrdb import RRDBNet
from models.networks.srvgg import SRVGGNetCompact
from models.networks.transform_net import TransformNet
from models.networks.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {
    "edsr": EDSR,
    "identity": Identity,
    "msrresnet": MSRResNet,
    "patchgan": PatchGAN,
    "resnet_generator": ResnetGenerator,
    "rrdb": RRDBNet,
    "srvgg": SRVGGNetCompact,
    "transform_net": TransformNet,
    "unet": UNet,
}
