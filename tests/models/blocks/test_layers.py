import torch
from torch import nn

from models.blocks import layers


def test_instance_norm_is_torchs() -> None:
    image = torch.randn(2, 3, 9, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layers.InstanceNorm()(image), nn.InstanceNorm2d(3)(image))
    assert layers.InstanceNorm()(image.bfloat16()).dtype == torch.bfloat16
