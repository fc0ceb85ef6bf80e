"""What is particular to the networks of He and Yokoya and of Xiong et al.: their layers, steps, parameters, inputs."""

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import zoo
from models.blocks import losses
from models.networks import dcstfn_os, mtcgan
from models.task import Batch
from models.translator import TrainingProgress, Translator
from s1s2pairs.errors import RunError
from tests.refusals import refuses

from .conftest import make, make_batch, parameters, train

FOUR_BANDS = (("s2_bands", "B4,B3,B2,B8"),)
PAPER_PARAMETERS = {
    # name, settings: generator, discriminator
    ("mtcgan", ()): (11_389_700, 2_774_849),
    ("mtcgan", (("downsample", "4"),)): (11_389_700, 2_774_849),
    ("mtcgan", (("s2_bands", "B4,B3,B2"),)): (11_385_987, 2_772_801),
    ("mtcnn", ()): (11_389_700,),
    ("cgan", ()): (11_370_884, 2_768_705),
    ("cnn", ()): (11_370_884,),
    ("mccgan", ()): (54_418_051, 2_772_801),
    ("mccgan", FOUR_BANDS): (54_421_124, 2_774_849),
    ("pix2pix_sar2opt", ()): (54_412_931, 2_767_681),
    ("pix2pix_sar2opt", FOUR_BANDS): (54_414_980, 2_768_705),
    ("dcstfn_os", ()): (336_035, 2_772_801),
    ("dcstfn_os", FOUR_BANDS): (336_356, 2_774_849),
    ("rdcstfn_os", ()): (2_993_699, 2_772_801),
    ("rdcstfn_os", FOUR_BANDS): (2_994_020, 2_774_849),
}
GANS = ("mtcgan", "cgan", "mccgan", "pix2pix_sar2opt", "dcstfn_os", "rdcstfn_os")


@pytest.mark.parametrize(("name", "settings"), PAPER_PARAMETERS)
def test_parameters_at_the_papers_settings(name: str, settings: tuple[tuple[str, str], ...]) -> None:
    assert tuple(parameters(name, **dict(settings)).values()) == PAPER_PARAMETERS[name, settings]


@pytest.mark.parametrize("name", GANS)
def test_the_discriminator_learns_to_tell_a_network_that_stands_still(name: str) -> None:
    model = make(name, learning_rate="2e-3")
    batch, optimizer = make_batch(model), model.optimizers(fused=False)["discriminator"]
    history = []
    for _ in range(20):
        part, loss = next(model.training_step(batch))
        assert part == "discriminator"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.9 * history[0]


def _step_of_pix2pix(
    model: Translator, batch: Batch, optimizers: dict[str, torch.optim.Optimizer], *, in_one: bool
) -> None:
    """One step in the order the authors of pix2pix wrote down, with their condition: all that goes in, in one image."""
    generator, discriminator = model.get_submodule("generator"), model.get_submodule("discriminator")
    images = [batch[key] for key in ("s1_t1", "s2_t1", "s1_t2") if key in batch]
    condition, target, valid = torch.cat(images, dim=1), batch["s2_t2"], batch["valid"]
    prediction = generator(condition) if in_one else generator(*images)
    judged = prediction.masked_fill(~valid, 0.0)

    optimizers["discriminator"].zero_grad()
    fake = discriminator(torch.cat([condition, judged.detach()], dim=1))
    real = discriminator(torch.cat([condition, target], dim=1))
    losses.discriminator_loss(real, fake, valid).backward()
    optimizers["discriminator"].step()

    optimizers["generator"].zero_grad()
    adversarial = losses.adversarial_loss(discriminator(torch.cat([condition, judged], dim=1)), valid)
    (adversarial + 100 * losses.masked_l1(prediction, target, valid)).backward()
    optimizers["generator"].step()


@pytest.mark.parametrize("name", GANS)
def test_five_steps_equal_pix2pixs_by_hand(name: str) -> None:
    model = make(name, seed=5)
    twin = copy.deepcopy(model)
    batch = make_batch(model, invalid=True)
    torch.manual_seed(0)
    train(model, batch, 5)
    torch.manual_seed(0)
    optimizers: dict[str, torch.optim.Optimizer] = {
        part: torch.optim.Adam(twin.get_submodule(part).parameters(), lr=2e-4, betas=(0.5, 0.999))
        for part in ("generator", "discriminator")
    }
    for _ in range(5):
        _step_of_pix2pix(twin, batch, optimizers, in_one="dcstfn" not in name)
    expected = twin.state_dict()
    assert [key for key, value in model.state_dict().items() if not torch.equal(value, expected[key])] == []


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_a_cnn_learns_from_the_pixels_alone(kind: str) -> None:
    model = make("mtcnn", pixel_loss=kind)
    batch = make_batch(model, invalid=True)
    torch.manual_seed(0)
    prediction = model(batch).mean
    torch.manual_seed(0)
    ((part, loss),) = model.training_step(batch)
    valid = batch["valid"].expand_as(prediction)
    error = (prediction - batch["s2_t2"]).abs() ** (1 if kind == "l1" else 2)
    by_image = [error[number][valid[number]].mean() for number in range(2)]
    assert part == "generator"
    torch.testing.assert_close(loss, torch.stack(by_image).mean())
    assert model.logged == {kind: loss.detach()}


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_a_gan_adds_the_pixel_loss_a_hundred_times(kind: str) -> None:
    model = make("mtcgan", pixel_loss=kind)
    yielded = dict(model.training_step(make_batch(model)))
    logged = model.logged
    assert logged.keys() == {"discriminator", "adversarial", kind}
    torch.testing.assert_close(yielded["generator"].detach(), logged["adversarial"] + 100 * logged[kind])
    torch.testing.assert_close(yielded["discriminator"].detach(), logged["discriminator"])


@pytest.mark.parametrize("name", ["cgan", "cnn", "pix2pix_sar2opt"])
def test_without_an_earlier_pair_one_radar_image_goes_in(name: str) -> None:
    task = make(name).task
    assert [stack.key for stack in task.stacks] == ["s1_t2", "s2_t2"]
    assert task.n_periods == 1


@pytest.mark.parametrize("name", ["mtcgan", "mccgan"])
def test_images_go_in_by_date(name: str) -> None:
    model = make(name, dropout="0")
    batch = make_batch(model)
    images = torch.cat([batch["s1_t1"], batch["s2_t1"], batch["s1_t2"]], dim=1)
    assert torch.equal(model(batch).mean, model.get_submodule("generator")(images))


def test_settings_reach_the_generator_of_he_and_yokoya() -> None:
    assert parameters("mtcnn", res_tail="bn_no_relu") == {"generator": 11_389_700 + 9 * 256}  # a norm for a bias
    assert parameters("mtcnn", residual_blocks="8") == {"generator": 11_389_700 - 9 * 256 * 256 * 2 - 256 * 3}
    printed, other = make("mtcnn", dropout="0"), make("mtcnn", dropout="0", res_tail="relu_after_add")
    batch = make_batch(printed)
    assert printed.state_dict().keys() == other.state_dict().keys()
    assert torch.equal(printed(batch).mean, printed(batch).mean), "no dropout"
    assert not torch.allclose(printed(batch).mean, other(batch).mean, atol=1e-3)


@pytest.mark.parametrize("name", ["mtcgan", "mccgan", "dcstfn_os"])
def test_first_weights_are_those_of_pix2pix_but_for_dcstfns_generator(name: str) -> None:
    for part in ("generator", "discriminator"):
        network = make(name, width="16").get_submodule(part)
        kernels = [float(weight.detach().std()) for weight in network.parameters() if weight.numel() > 4000]
        assert kernels
        assert all(0.019 < deviation < 0.021 for deviation in kernels) is ((name, part) != ("dcstfn_os", "generator"))


def _normed(x: Tensor, weights: list[Tensor], **how: int) -> Tensor:
    """Convolution, batch norm of a batch of one, ReLU."""
    kernel, scale, shift = weights
    x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2, **how)
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
    normal = (x - mean) / (variance + 1e-5).sqrt()
    return (normal * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


@pytest.mark.parametrize("downsample", [1, 4])
def test_the_generator_of_he_and_yokoya_by_hand(downsample: int) -> None:
    """As in their figure 2, with zeros beyond the border; and with the middle at a quarter of the size."""
    model = make("mtcgan", downsample=str(downsample)).double()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.2)
    weights = [parameter.detach() for parameter in model.get_submodule("generator").parameters()]
    stride = {} if downsample == 1 else {"stride": 2}
    image = torch.randn(1, 8, 32, 32, dtype=torch.float64)
    x = _normed(image, [weights.pop(0) for _ in range(3)])
    for _ in range(2):
        x = _normed(x, [weights.pop(0) for _ in range(3)], **stride)
    for _ in range(9):
        changed = _normed(x, [weights.pop(0) for _ in range(3)])
        x = x + functional.conv2d(changed, weights.pop(0), weights.pop(0), padding=1).clamp(min=0)
    for _ in range(2):
        kernel, scale, shift = (weights.pop(0) for _ in range(3))
        if downsample == 4:  # a transposed convolution is one with the mirrored kernel over pixels set apart by zeros
            apart = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
            apart[:, :, ::2, ::2] = x
            x, kernel = apart, kernel.flip(2, 3).transpose(0, 1)
        x = _normed(x, [kernel, scale, shift])
    expected = functional.conv2d(x, weights.pop(0), weights.pop(0), padding=1).tanh()
    assert weights == []
    torch.testing.assert_close(model.eval().get_submodule("generator")(image), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("blocks", [0, 2])
def test_dcstfn_os_by_hand(blocks: int) -> None:
    model = make("dcstfn_os", residual_blocks=str(blocks)).double().eval()
    generator = model.get_submodule("generator")
    assert isinstance(generator, dcstfn_os.Generator)
    state = generator.state_dict()

    def encode(x: Tensor, sensor: str) -> Tensor:
        for number, layer in enumerate((0, 2, 5, 7)):
            x = functional.conv2d(x, state[f"{sensor}.{layer}.weight"], state[f"{sensor}.{layer}.bias"], padding=1)
            x = x.clamp(min=0)
            if number == 1:
                x = functional.max_pool2d(x, 2)
        return x

    radar, optical, later = (torch.randn(1, bands, 8, 8, dtype=torch.float64) for bands in (2, 3, 2))
    x = encode(optical, "optical") - encode(radar, "radar") + encode(later, "radar")
    for number in range(blocks):
        own = [state[f"residual.{number}.change.{key}"] for key in ("0.weight", "1.weight", "1.bias")]
        last = (state[f"residual.{number}.change.4.weight"], state[f"residual.{number}.change.4.bias"])
        x = x + functional.conv2d(_normed(x, own), *last, padding=1)
    up = (state["decoder.0.weight"], state["decoder.0.bias"])
    x = functional.conv_transpose2d(x, *up, stride=2, padding=1, output_padding=1).clamp(min=0)
    x = functional.conv2d(x, state["decoder.2.weight"], state["decoder.2.bias"]).clamp(min=0)
    expected = functional.conv2d(x, state["decoder.4.weight"], state["decoder.4.bias"]).tanh()
    torch.testing.assert_close(generator(radar, optical, later), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["dcstfn_os", "rdcstfn_os"])
def test_without_a_change_in_radar_the_earlier_optical_image_decides_alone(name: str) -> None:
    model = make(name).eval()
    batch = make_batch(model)
    batch["s1_t1"] = batch["s1_t2"]
    before = model(batch).mean
    batch["s1_t1"] = batch["s1_t2"] = -batch["s1_t2"]
    torch.testing.assert_close(model(batch).mean, before)


@pytest.mark.parametrize("name", ["mtcgan", "mccgan", "rdcstfn_os"])
def test_running_statistics_are_gathered_only_where_they_are_used(name: str) -> None:
    batch = make_batch(make(name))
    predictions = []
    for mode in ("instance_stats", "running_stats", "train"):
        model = make(name, infer_mode=mode)
        train(model, batch, 1)
        assert any("running_mean" in key for key in model.state_dict()) is (mode == "running_stats")
        predictions.append(model.eval()(batch).mean)
        assert torch.equal(model(batch).mean, predictions[-1])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(predictions[one], predictions[other], atol=1e-4)


def test_schedules_are_those_of_the_papers() -> None:
    constant, falling = zoo.create("mtcgan", {"width": "2"}), zoo.create("mccgan", {"width": "2"})
    progress = [TrainingProgress(step=7 * epoch, epochs=epoch, share=epoch / 200) for epoch in range(200)]
    assert {constant.learning_rate_factor("generator", at) for at in progress} == {1.0}
    factors = [falling.learning_rate_factor("discriminator", at) for at in progress]
    assert factors[:100] == [1.0] * 100
    # pix2pix: 1 - max(0, epoch + 1 - 100) / 101, epochs counted from 0
    assert factors[100:] == pytest.approx([1 - (epoch + 1 - 100) / 101 for epoch in range(100, 200)])
    for model in (constant, falling):
        assert (model.config.learning_rate, model.config.epochs, model.config.batch_size) == (2e-4, 200, 1)


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("mtcgan", {"downsample": "2"}, ("downsample", 2, 1, 4)),
        ("mtcgan", {"dropout": "1"}, ("dropout", "1.0", 0)),
        ("mtcgan", {"residual_blocks": "0"}, ("residual_blocks", 0)),
        ("mtcgan", {"infer_mode": "eval"}, ("infer_mode", "eval", "instance_stats", "running_stats", "train")),
        ("mccgan", {"epochs": "2", "decay_epochs": "100"}, ("decay_epochs=100", 2)),
        ("mccgan", {"lambda_l1": "0"}, ("lambda_l1", "above zero")),
        ("dcstfn_os", {"residual_blocks": "-1"}, ("residual_blocks", -1, 0)),
        ("cnn", {"adversarial": "true"}, ("adversarial=true", "mtcgan", "adversarial=false")),
    ],
)
def test_what_does_not_fit_is_refused(name: str, settings: dict[str, str], named: tuple[object, ...]) -> None:
    with refuses(RunError, *named):
        zoo.create(name, settings)


def test_a_whole_number_may_be_one_of_a_choice() -> None:
    assert zoo.create("mtcgan", {"width": "2", "downsample": "4"}).config.downsample == 4  # type: ignore[attr-defined]
    assert mtcgan.Config(downsample=4).values()["downsample"] == 4
    again = zoo.load("mtcgan").make({"width": 2, "downsample": 4}).config
    assert again == mtcgan.Config(width=2, downsample=4)
