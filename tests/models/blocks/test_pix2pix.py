"""The networks of pix2pix and CycleGAN against their authors' code, and what predicting does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.blocks.pix2pix import BatchNorm, Dropout, InferMode, PatchGan, initialise, predict
from models.blocks.resnet import ResidualBlock, ResNet, Tail
from models.blocks.unet import UNet

from .pix2pix_formulas import by_formula, samples, wave

RECORDED = json.loads(Path(__file__).with_name("pix2pix_recorded.json").read_text(encoding="utf-8"))
"""What the authors' classes give; the file says how it was recorded."""
AUTHORS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    # the same network of ours, bands and side of the images
    "unet": (lambda: UNet(7, 3, 4), 7, 256),
    "resnet_instance": (lambda: ResNet(2, 3, 4), 2, 64),
    "resnet_batch_dropout": (lambda: ResNet(2, 3, 4, norm="batch", dropout=0.5), 2, 64),
    "discriminator_batch": (lambda: PatchGan(10, 4), 10, 64),
    "discriminator_instance": (lambda: PatchGan(3, 4, "instance"), 3, 64),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_a_network_gives_what_its_authors_code_gives(name: str) -> None:
    make, bands, side = AUTHORS[name]
    with torch.no_grad():
        output = by_formula(make())(wave(2, bands, side, side, phase=0.0))
    assert samples(output) == pytest.approx(RECORDED[name], abs=1e-9)


def test_the_generator_of_cyclegan_has_its_parameters() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in ResNet(*bands, 64).parameters()) for bands in ((2, 3), (3, 2), (3, 3))]
        judges = [sum(p.numel() for p in PatchGan(bands, 64, "instance").parameters()) for bands in (3, 2)]
    assert counts == [11_375_043, 11_375_042, 11_378_179]
    assert judges == [2_764_737, 2_763_713]


@pytest.mark.parametrize("tail", ["relu_before_add", "relu_after_add", "bn_no_relu", "none"])
def test_a_residual_block_ends_as_its_tail_says(tail: Tail) -> None:
    """The first five layers are the same; the second convolution has a bias where no batch norm takes it away."""
    block = ResidualBlock(3, dropout=0.5, tail=tail)
    by_formula(block)
    x = wave(2, 3, 6, 5, phase=1.0)
    convolved: Tensor = block.change[:5](x)
    assert [type(layer) for layer in block.change[:5]][::2] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert (block.change[4].bias is None) is (tail == "bn_no_relu")
    expected = {
        "relu_before_add": lambda: x + convolved.clamp(min=0),
        "relu_after_add": lambda: (x + convolved).clamp(min=0),
        "bn_no_relu": lambda: x + block.change[5](convolved),
        "none": lambda: x + convolved,
    }[tail]()
    torch.testing.assert_close(block(x), expected, atol=1e-12, rtol=0)


def test_an_image_keeps_its_size_where_nothing_is_halved() -> None:
    image = torch.rand(1, 2, 20, 12)
    whole = ResNet(2, 3, 4, blocks=1, norm="batch", padding="zeros", downsample=1, last_kernel=3)
    halving = ResNet(2, 3, 4, blocks=1)
    assert whole(image).shape == halving(image).shape == (1, 3, 20, 12)
    features = [nn.Sequential(*list(network)[:10])(image) for network in (whole, halving)]  # with the residual block
    assert [tuple(feature.shape) for feature in features] == [(1, 16, 20, 12), (1, 16, 5, 3)]


def test_first_weights_are_those_of_pix2pix() -> None:
    torch.manual_seed(0)
    network = ResNet(8, 4, 16, norm="batch", tail="relu_before_add")
    initialise(network)
    network.requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.weight.numel() > 1000:
            assert float(part.weight.mean()) == pytest.approx(0, abs=0.003)
            assert float(part.weight.std()) == pytest.approx(0.02, rel=0.1)
        if isinstance(part, nn.BatchNorm2d):
            assert float(part.weight.mean()) == pytest.approx(1, abs=0.02)
            assert 0.01 < float(part.weight.std()) < 0.03
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) and part.bias is not None:
            assert not part.bias.any()


class TestInferMode:
    """What batch norm and dropout do when a network predicts."""

    image = wave(3, 2, 4, 4, phase=2.0) * torch.tensor([1.0, 3.0, 0.2], dtype=torch.float64).reshape(3, 1, 1, 1)

    @pytest.mark.parametrize("mode", ["instance_stats", "train"])
    def test_own_statistics_are_those_of_training_on_one_image(self, mode: InferMode) -> None:
        norm = by_formula(BatchNorm(2, mode))
        alone = torch.cat([norm(image[None]) for image in self.image])
        torch.testing.assert_close(norm.eval()(self.image), alone)
        assert not torch.allclose(norm.train()(self.image), alone)
        assert "running_mean" not in norm.state_dict()

    def test_running_statistics_are_those_gathered_in_training(self) -> None:
        norm, plain = by_formula(BatchNorm(2, "running_stats")), by_formula(nn.BatchNorm2d(2))
        for _ in range(3):
            torch.testing.assert_close(norm(self.image), plain(self.image))
        torch.testing.assert_close(norm.eval()(self.image), plain.eval()(self.image))

    def test_training_is_batch_norm_in_every_mode(self) -> None:
        expected = by_formula(nn.BatchNorm2d(2))(self.image)
        for mode in ("instance_stats", "running_stats", "train"):
            torch.testing.assert_close(by_formula(BatchNorm(2, mode))(self.image), expected)

    @pytest.mark.parametrize("mode", ["instance_stats", "running_stats", "train"])
    def test_dropout_stays_on_in_one_mode_alone_and_repeats_itself(self, mode: InferMode) -> None:
        generator = nn.Sequential(Dropout(0.5, mode)).eval()
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first, second = (predict(generator, self.image, infer_mode=mode) for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(first, self.image) is not (mode == "train")
        assert torch.equal(torch.get_rng_state(), before)

    def test_training_is_left_to_chance(self) -> None:
        generator = nn.Sequential(Dropout(0.5, "train"))
        assert not torch.equal(*(predict(generator, self.image, infer_mode="train") for _ in range(2)))
