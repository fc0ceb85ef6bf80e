"""Pooling of scores: weights of changed ground, missing ground, units and NDVI."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from models.evaluate.pooling import GROUNDS, ScoreKey, Scores, Value
from models.evaluate.scores import score_batch
from models.metrics import pixels, texture
from models.metrics.change import hard_change, soft_change
from models.scaling import Scaling
from models.task import Batch, Stack, Task
from models.translator import Prediction
from tests.refusals import refuses

SIZE = 48


def _task(sensor: str, bands: tuple[str, ...]) -> Task:
    reference, target = (Stack(sensor=sensor, date=date, bands=bands) for date in (0, 1))  # type: ignore[arg-type]
    return Task(name="shift", sources=(), references=(reference,), target=target)


RADAR = _task("s1", ("VV",))
OPTICAL = _task("s2", ("B2", "B4", "B8"))


def _batch(task: Task, seed: int = 0, *, squares: tuple[int, ...] = (20, 10)) -> Batch:
    """Return images that differ inside a square only (side per image; 0: nothing changed)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(squares), len(task.target.bands), SIZE, SIZE)
    reference = torch.rand(shape, generator=generator) - 0.5
    target = reference + 0.01 * torch.randn(shape, generator=generator)
    for image, side in enumerate(squares):
        target[image, :, 4 : 4 + side, 6 : 6 + side] += 0.4
    valid = torch.ones(len(squares), 1, SIZE, SIZE, dtype=torch.bool)
    keys = task.references[0].key, task.target.key
    sample = torch.arange(len(squares))
    return {keys[0]: reference, keys[1]: target, "valid": valid, "sample": sample}


def _scored(batch: Batch, task: Task, noise: float = 0.1, seed: int = 1) -> tuple[Scores, torch.Tensor]:
    target = batch[task.target.key]
    prediction = target + noise * torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
    return _score(prediction, batch, task), prediction


def _score(prediction: torch.Tensor, batch: Batch, task: Task) -> Scores:
    """Score a prediction of a batch whose images lie within the scaling's range."""
    return score_batch(Prediction(prediction), _observed(batch, task), batch, task, Scaling())


def _observed(batch: Batch, task: Task) -> Batch:
    return {stack.key: Scaling().unscale(batch[stack.key], stack) for stack in (task.target, *task.references)}


def _all(scores: Scores) -> dict[ScoreKey, Value]:
    return scores.pool(np.ones(len(scores.samples), bool))


def test_a_spread_has_no_say_yet() -> None:
    batch = _batch(RADAR)
    observed, target = _observed(batch, RADAR), batch["s1_t2"]
    both = [Prediction(target * 0.9), Prediction(target * 0.9, spread=torch.ones_like(target))]
    plain, spread = (_all(score_batch(prediction, observed, batch, RADAR, Scaling())) for prediction in both)
    assert plain == spread


def test_a_perfect_prediction_has_perfect_scores() -> None:
    batch = _batch(OPTICAL)
    scores, _ = _scored(batch, OPTICAL, noise=0.0)
    perfect = {
        "psnr": 100,
        "wpsnr": 100,
        "psnr_2to1": 100,
        "skill": 1,
        "r2": 1,
        "cc": 1,
        "kge": 1,
        "hf_ratio": 1,
        "gradient_ratio": 1,
    }
    perfect |= {"ssim": 1, "wssim": 1, "ssim_2to1": 1}
    for column, value in _all(scores).items():
        assert value.n == 2
        assert value.value == pytest.approx(perfect.get(column.metric, 0), abs=1e-5), column


def test_copying_the_reference_has_no_skill() -> None:
    batch = _batch(RADAR)
    reference = batch["s1_t1"]
    pooled = _all(_score(reference, batch, RADAR))
    for ground in GROUNDS:
        assert pooled[ScoreKey("skill", ground, None)].value == pytest.approx(0.0, abs=1e-12)


def test_changed_ground_is_weighted_by_its_share_of_each_image() -> None:
    batch = _batch(RADAR, squares=(20, 10))
    scores, prediction = _scored(batch, RADAR)
    soft = soft_change(batch, RADAR)
    assert soft is not None
    mask = hard_change(soft, batch["valid"])[:, 0].numpy()
    assert 0.8 < mask[0].sum() / mask[1].sum() / 4 < 1.2
    unit = [((image[:, 0] + 1) / 2).double().numpy() for image in (prediction, batch["s1_t2"])]
    per_image = [10 * math.log10(1 / np.mean((unit[0][i] - unit[1][i])[mask[i]] ** 2)) for i in (0, 1)]
    expected = np.average(per_image, weights=[mask[0].sum(), mask[1].sum()])
    assert _all(scores)[ScoreKey("psnr", "changed", None)].value == pytest.approx(expected, rel=1e-5)
    untouched = [10 * math.log10(1 / np.mean((unit[0][i] - unit[1][i])[~mask[i]] ** 2)) for i in (0, 1)]
    expected = np.average(untouched, weights=[(~mask[0]).sum(), (~mask[1]).sum()])
    assert _all(scores)[ScoreKey("psnr", "unchanged", None)].value == pytest.approx(expected, rel=1e-5)


def test_all_ground_is_the_plain_mean_over_images() -> None:
    batch = _batch(RADAR)
    scores, prediction = _scored(batch, RADAR)
    unit = [((image[:, 0] + 1) / 2).numpy() for image in (prediction, batch["s1_t2"])]
    expected = np.mean([peak_signal_noise_ratio(unit[1][i], unit[0][i], data_range=1.0) for i in (0, 1)])
    assert _all(scores)[ScoreKey("psnr", "all", None)].value == pytest.approx(expected, rel=1e-6)


def test_images_without_changed_ground_are_skipped_and_none_is_null() -> None:
    scores, _ = _scored(_batch(RADAR, squares=(20, 0)), RADAR)
    assert _all(scores)[ScoreKey("psnr", "changed", None)].n == 1
    only_first = scores.pool(np.array([True, False]))
    assert only_first[ScoreKey("ssim", "changed", None)] == _all(scores)[ScoreKey("ssim", "changed", None)]
    nothing = scores.pool(np.array([False, True]))
    for column, value in nothing.items():
        if column.ground == "changed" or column.metric in ("wpsnr", "wssim"):
            continue
        assert value.value is not None, column
    for metric in ("psnr", "ssim", "mae_db", "rmse_db", "r2", "cc", "kge", "skill"):
        assert nothing[ScoreKey(metric, "changed", None)] == Value(None, 0)


def test_the_mixture_weighs_unchanged_ground_twice() -> None:
    batch = _batch(RADAR, squares=(20,))
    scores, prediction = _scored(batch, RADAR)
    soft = soft_change(batch, RADAR)
    assert soft is not None
    mask = hard_change(soft, batch["valid"])
    mse = pixels.weighted_mse(prediction / 2, batch["s1_t2"] / 2, torch.where(mask, 1.0, 2.0))
    value = _all(scores)[ScoreKey("psnr_2to1", "all", None)].value
    assert value == pytest.approx(pixels.psnr(mse).item(), rel=1e-6)


def test_errors_are_in_decibels_and_reflectance() -> None:
    for task, suffix, span in ((RADAR, "db", 35.0), (OPTICAL, "reflectance", 1.0)):
        batch = _batch(task)
        scores, prediction = _scored(batch, task)
        error = (prediction - batch[task.target.key]).double().numpy() / 2 * span
        pooled = _all(scores)
        assert pooled[ScoreKey(f"mae_{suffix}", "all", None)].value == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert pooled[ScoreKey(f"rmse_{suffix}", "all", None)].value == pytest.approx(
            np.sqrt((error**2).mean()), rel=1e-5
        )


def test_optical_targets_have_bands_angles_and_ndvi() -> None:
    batch = _batch(OPTICAL)
    scores, prediction = _scored(batch, OPTICAL)
    pooled = _all(scores)
    bands = {column.band for column in pooled if column.metric == "psnr"}
    assert bands == {"B2", "B4", "B8", None, "NDVI"}
    p, t = ((image.double().numpy() + 1) / 2 for image in (prediction, batch["s2_t2"]))
    cosine = (p * t).sum(1) / np.linalg.norm(p, axis=1) / np.linalg.norm(t, axis=1)
    angle = np.degrees(np.arccos(cosine)).mean()
    assert pooled[ScoreKey("sam_deg", "all", None)].value == pytest.approx(angle, rel=1e-4)
    assert pooled[ScoreKey("sam_rad", "all", None)].value == pytest.approx(np.radians(angle), rel=1e-4)
    flat = math.acos((p * t).sum() / np.linalg.norm(p) / np.linalg.norm(t))
    assert pooled[ScoreKey("sam_flat_rad", "all", None)].value == pytest.approx(flat, rel=1e-5)
    ndvi_p, ndvi_t = ((image[:, 2] - image[:, 1]) / (image[:, 2] + image[:, 1] + 1e-6) for image in (p, t))
    assert pooled[ScoreKey("rmse_ndvi", "all", "NDVI")].value == pytest.approx(
        np.sqrt(np.mean((ndvi_p - ndvi_t) ** 2)), rel=1e-5
    )
    ratio = np.mean([10 * math.log10(4 / np.mean((ndvi_p[i] - ndvi_t[i]) ** 2)) for i in (0, 1)])
    assert pooled[ScoreKey("psnr", "all", "NDVI")].value == pytest.approx(ratio, rel=1e-5)


def test_all_bands_together_pool_their_errors() -> None:
    batch = _batch(OPTICAL)
    scores, prediction = _scored(batch, OPTICAL)
    mse = ((prediction - batch["s2_t2"]) / 2).double().square().mean(dim=(1, 2, 3))
    expected = (10 * torch.log10(1 / mse)).mean().item()
    assert _all(scores)[ScoreKey("psnr", "all", None)].value == pytest.approx(expected, rel=1e-5)


def test_radar_has_no_spectral_angle() -> None:
    scores, _ = _scored(_batch(RADAR), RADAR)
    assert not [column for column in _all(scores) if column.metric.startswith("sam")]


def test_constant_targets_have_errors_but_no_correlation() -> None:
    batch = _batch(RADAR)
    batch["s1_t2"] = torch.full_like(batch["s1_t2"], 0.2)
    scores, _ = _scored(batch, RADAR)
    pooled = _all(scores)
    assert pooled[ScoreKey("r2", "all", None)] == Value(None, 2)
    assert pooled[ScoreKey("cc", "all", None)] == Value(None, 2)
    assert pooled[ScoreKey("mae_db", "all", None)].value is not None


def test_errors_count_against_what_was_observed_beyond_the_scaling_range() -> None:
    """Calm water below -25 dB: the network's scale ends there, the error in dB does not."""
    batch = _batch(RADAR, squares=(0,))
    batch["s1_t2"][:] = -1.0
    observed = _observed(batch, RADAR) | {"s1_t2": torch.full_like(batch["s1_t2"], -29.0)}
    pooled = _all(score_batch(Prediction(batch["s1_t2"]), observed, batch, RADAR, Scaling()))
    assert pooled[ScoreKey("mae_db", "all", None)].value == pytest.approx(4.0)
    assert pooled[ScoreKey("rmse_db", "all", None)].value == pytest.approx(4.0)
    assert pooled[ScoreKey("psnr", "all", None)].value == 100  # taken on the scaled images


def test_copying_is_measured_on_what_was_observed() -> None:
    """A reference at -29 dB, below the scale's -25: what copying costs is the distance to it, as observed."""
    batch = _batch(RADAR, squares=(0,))
    batch["s1_t1"][:], batch["s1_t2"][:] = -1.0, -1.0
    observed = {"s1_t1": torch.full_like(batch["s1_t1"], -29.0), "s1_t2": torch.full_like(batch["s1_t2"], -26.0)}
    observed["s1_t2"][..., :8] = -27.0  # so that there is something to correlate
    prediction = Scaling().scale(torch.full_like(batch["s1_t2"], -25.0), RADAR.target)
    pooled = _all(score_batch(Prediction(prediction), observed, batch, RADAR, Scaling()))
    errors = {value: (observed["s1_t2"] - value).square().mean().item() for value in (-25.0, -29.0)}
    skill = 1 - errors[-25.0] / errors[-29.0]
    assert skill > 0.5
    assert pooled[ScoreKey("skill", "all", None)].value == pytest.approx(skill)
    copied = score_batch(Prediction(batch["s1_t1"]), observed, batch, RADAR, Scaling(), physical=observed["s1_t1"])
    assert _all(copied)[ScoreKey("rmse_db", "all", None)].value == pytest.approx(math.sqrt(errors[-29.0]))
    assert _all(copied)[ScoreKey("skill", "all", None)].value == pytest.approx(0.0, abs=1e-12)
    assert _all(copied)[ScoreKey("psnr", "all", None)].value == 100, "on the scaled interval both are -25 dB"


def test_an_observed_reference_with_more_bands_shows_those_of_the_target() -> None:
    wide = Stack(sensor="s2", date=0, bands=("B8", "B2", "B4"))
    target = Stack(sensor="s2", date=1, bands=("B2", "B8"))
    task = Task(name="wide", sources=(), references=(wide,), target=target)
    batch = _batch(OPTICAL) | {"s2_t1": torch.rand(2, 3, SIZE, SIZE) - 0.5}
    batch["s2_t2"] = batch["s2_t2"][:, :2]
    observed = {"s2_t1": torch.rand(2, 3, SIZE, SIZE) + 0.7, "s2_t2": torch.rand(2, 2, SIZE, SIZE)}
    prediction = batch["s2_t2"] * 0.5
    pooled = _all(score_batch(Prediction(prediction), observed, batch, task, Scaling()))
    for channel, (band, place) in enumerate((("B2", 1), ("B8", 0))):
        error = (prediction[:, channel] + 1) / 2 - observed["s2_t2"][:, channel]
        copied = observed["s2_t1"][:, place] - observed["s2_t2"][:, channel]
        skill = 1 - error.double().square().sum() / copied.double().square().sum()
        assert pooled[ScoreKey("skill", "all", band)].value == pytest.approx(skill.item(), rel=1e-5)


def test_texture_pools_sums_not_ratios() -> None:
    """A nearly flat image hardly moves the ratio of the group; a gradient on changed ground is that ground's own."""
    batch = _batch(RADAR, squares=(20, 10))
    batch["s1_t2"][1] *= 1e-3
    prediction = batch["s1_t2"] + 0.1 * torch.randn(batch["s1_t2"].shape, generator=torch.Generator().manual_seed(3))
    scores = _score(prediction, batch, RADAR)
    pooled = _all(scores)
    p, t = (Scaling().unscale(image, RADAR.target).double() for image in (prediction, batch["s1_t2"]))
    changed = hard_change(soft_change(batch, RADAR), batch["valid"])  # type: ignore[arg-type]
    for ground, mask in (("all", batch["valid"]), ("changed", changed)):
        sums = texture.gradient_sums(p, t, batch["valid"], mask.float()).sum(dim=(0, 1, 2))
        assert pooled[ScoreKey("gradient_ratio", ground, None)].value == pytest.approx(  # type: ignore[arg-type]
            float(sums[0] / sums[1]), rel=1e-6
        )
    powers = torch.cat([texture.ring_power(image, batch["valid"]).sum(dim=(0, 1)) for image in (p, t)])
    expected = float(texture.log_spectral_distance(powers.numpy()))
    assert pooled[ScoreKey("lsd_db", "all", None)].value == pytest.approx(expected, rel=1e-5)
    assert ScoreKey("lsd_db", "changed", None) not in pooled


def test_values_of_single_images_have_the_mean_of_the_group() -> None:
    """Weighted as the measures say, for all that is a mean over images or pixels of equal patches."""
    batch = _batch(RADAR, squares=(20, 10, 0))
    batch["valid"][1, :, :9] = False
    scores, _ = _scored(batch, RADAR)
    pooled = _all(scores)
    for key, measure in scores.measures().items():
        if key.metric in {"psnr", "ssim", "mae_db", "wpsnr", "ssim_2to1"}:
            values, there = measure.values(), measure.weights > 0
            expected = np.average(values[there], weights=measure.weights[there])
            assert pooled[key].value == pytest.approx(expected, rel=1e-9), key
            assert there.sum() == pooled[key].n


def test_batches_join_to_the_same_scores() -> None:
    batch = _batch(RADAR, squares=(20, 10, 15))
    whole, prediction = _scored(batch, RADAR)
    parts = []
    for image in range(3):
        one = {key: values[image : image + 1] for key, values in batch.items()}
        parts.append(_score(prediction[image : image + 1], one, RADAR))
    joined = Scores.concatenate(parts)
    assert joined.samples.tolist() == [0, 1, 2]
    for column, value in _all(whole).items():
        other = _all(joined)[column]
        assert other.n == value.n
        assert other.value == pytest.approx(value.value, rel=1e-6)


def test_a_task_without_two_dates_of_a_sensor_cannot_be_tallied() -> None:
    target = Stack(sensor="s1", date=1, bands=("VV",))
    mono = Task(name="mono", sources=(Stack(sensor="s2", date=1, bands=("B2",)),), references=(), target=target)
    with refuses(ValueError, "mono"):
        score_batch(Prediction(torch.zeros(1, 1, 8, 8)), {}, {}, mono, Scaling())


@pytest.mark.gpu
def test_scores_on_a_gpu_equal_those_on_the_cpu() -> None:
    batch = _batch(OPTICAL)
    expected, prediction = _scored(batch, OPTICAL)
    there = {key: values.cuda() for key, values in batch.items()}
    result = _score(prediction.cuda(), there, OPTICAL)
    for column, value in _all(expected).items():
        assert _all(result)[column].value == pytest.approx(value.value, rel=1e-4, abs=1e-5), column


class TestPredictionsThatAreNotFinite:
    """They must not make any score better, nor any image vanish from a mean."""

    @pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30], ids=str)
    @pytest.mark.parametrize("task", [RADAR, OPTICAL], ids=["radar", "optical"])
    def test_one_pixel_takes_every_value_of_its_image(self, task: Task, junk: float) -> None:
        batch = _batch(task, squares=(20, 10, 12))
        prediction = batch[task.target.key] + 0.1
        clean = _score(prediction, batch, task)
        prediction[1, -1, 10, 10] = junk  # within the changed square, in one band
        scores = _score(prediction, batch, task)
        assert scores.not_finite.tolist() == [0, 1, 0]
        for key, value in _all(scores).items():
            assert value.value is None, key
            assert value.n == _all(clean)[key].n
        others = np.array([True, False, True])
        assert scores.pool(others) == clean.pool(others)

    def test_unchanged_ground_of_a_broken_image_is_invalid_too(self) -> None:
        batch = _batch(RADAR, squares=(20, 0))
        prediction = batch[RADAR.target.key].clone()
        prediction[1, 0, 3, 3] = math.nan
        pooled = _all(_score(prediction, batch, RADAR))
        assert pooled[ScoreKey("psnr", "unchanged", None)] == Value(None, 2)
        assert pooled[ScoreKey("psnr", "changed", None)] == Value(100.0, 1), "the broken image has no changed ground"

    def test_missing_pixels_of_the_inputs_are_no_fault_of_the_prediction(self) -> None:
        batch = _batch(RADAR)
        batch["valid"][:, :, :6, :9] = False
        prediction = batch[RADAR.target.key] + 0.1
        clean = _score(prediction, batch, RADAR)
        prediction[:, :, :6, :9] = math.nan
        scores = _score(prediction, batch, RADAR)
        assert scores.not_finite.tolist() == [0, 0]
        assert _all(scores) == _all(clean)
