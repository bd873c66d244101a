"""Networks are called with a tensor for each input, or with one in all."""

import pytest
import torch
from torch import Tensor, nn

from recast.models.joined import joined

IMAGE, POSE, CODE = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5), torch.rand(2, 7)


class Two(nn.Module):
    def forward(self, image: Tensor, pose: Tensor) -> Tensor:
        return image * pose


def test_a_network_of_one_tensor_gets_all_inputs_as_its_channels():
    """Numbers as planes of one value each."""
    found = joined(nn.Identity(), 3)(IMAGE, POSE, CODE)
    assert found.shape == (2, 3 + 1 + 7, 4, 5)
    assert torch.equal(found[:, :3], IMAGE)
    assert torch.equal(found[:, 3:4], POSE)
    assert torch.equal(found[:, 4:], CODE[:, :, None, None].expand(-1, -1, 4, 5))


def test_a_network_that_takes_so_many_is_itself():
    network = Two()
    assert joined(network, 2) is network
    plain = nn.Identity()
    assert joined(plain, 1) is plain


def test_a_network_of_another_number_is_refused():
    with pytest.raises(ValueError, match="it takes 2 tensors, and its bundle states 3 inputs"):
        joined(Two(), 3)
