"""The networks, by the names that bundles and recipes call them."""

from torch import nn

from recast.models.networks.centernet import CenterNet
from recast.models.networks.dcgan import DCGANGenerator
from recast.models.networks.edsr import EDSR
from recast.models.networks.face_embedder import FaceEmbedder
from recast.models.networks.face_generator import FaceGenerator
from recast.models.networks.face_transformer import FaceTransformer
from recast.models.networks.identity import Identity
from recast.models.networks.mask_rcnn import MaskRCNN
from recast.models.networks.msrresnet import MSRResNet
from recast.models.networks.patchgan import PatchGAN
from recast.models.networks.resnet_generator import ResnetGenerator
from recast.models.networks.retinaface import RetinaFace
from recast.models.networks.rrdb import RRDBNet
from recast.models.networks.srresnet import SRResNet
from recast.models.networks.srvgg import SRVGGNetCompact
from recast.models.networks.transform_net import TransformNet
from recast.models.networks.unet import UNet
from recast.models.networks.vgg import VGG

NETWORKS: dict[str, type[nn.Module]] = {
    "centernet": CenterNet,
    "dcgan_generator": DCGANGenerator,
    "edsr": EDSR,
    "face_embedder": FaceEmbedder,
    "face_generator": FaceGenerator,
    "face_transformer": FaceTransformer,
    "identity": Identity,
    "mask_rcnn": MaskRCNN,
    "msrresnet": MSRResNet,
    "patchgan": PatchGAN,
    "resnet_generator": ResnetGenerator,
    "retinaface": RetinaFace,
    "rrdb": RRDBNet,
    "srresnet": SRResNet,
    "srvgg": SRVGGNetCompact,
    "transform_net": TransformNet,
    "unet": UNet,
    "vgg": VGG,
}
