"""Corner pooling is its definition, pixel by pixel, and its gradients go to the maxima."""

import torch

from recast.models.perception.corner_pooling import bottom_right, top_left


def test_corners_see_what_lies_along_the_sides_of_their_box():
    draws = torch.Generator().manual_seed(0)
    vertical, horizontal = (torch.randn(2, 3, 5, 7, generator=draws) for _ in range(2))
    upper, lower = top_left(vertical, horizontal), bottom_right(vertical, horizontal)
    for y in range(5):
        for x in range(7):
            above = vertical[:, :, y:, x].amax(2) + horizontal[:, :, y, x:].amax(2)
            below = vertical[:, :, : y + 1, x].amax(2) + horizontal[:, :, y, : x + 1].amax(2)
            assert torch.equal(upper[:, :, y, x], above)
            assert torch.equal(lower[:, :, y, x], below)


def test_gradients_go_to_the_maximum_of_each_pixel():
    vertical = torch.tensor([[1.0, 3.0, 2.0]]).view(1, 1, 3, 1).requires_grad_()
    still = torch.zeros(1, 1, 3, 1)
    (upwards,) = torch.autograd.grad(top_left(vertical, still).sum(), vertical)
    (downwards,) = torch.autograd.grad(bottom_right(vertical, still).sum(), vertical)
    assert upwards.flatten().tolist() == [0, 2, 1]
    assert downwards.flatten().tolist() == [1, 2, 0]
