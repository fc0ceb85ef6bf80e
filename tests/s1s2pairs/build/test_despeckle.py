import numpy as np
import pytest

from s1s2pairs.build.despeckle import GRD_LOOKS, despeckle, half_windows, to_db

METHODS = ["lee", "refined_lee"]


def speckled(mean: np.ndarray, looks: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).gamma(looks, 1 / looks, mean.shape)
    return (mean * noise).astype(np.float32)[None]


def enl(values: np.ndarray) -> float:
    return float(values.mean() ** 2 / values.var())


def test_decibels_there_and_back() -> None:
    linear = np.array([1e-4, 0.1, 1.0, 250.0, np.nan], np.float32)
    np.testing.assert_allclose(to_db(linear), [-40, -10, 0, 23.9794, np.nan], atol=1e-4)
    np.testing.assert_allclose(10 ** (to_db(linear) / 10), linear, rtol=1e-6)
    assert to_db(linear).dtype == np.float32


def test_none_is_the_identity() -> None:
    image = speckled(np.full((9, 9), 0.1), 4.4)
    assert despeckle(image, looks=np.full((9, 9), 4.4), method="none") is image


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("acquisitions", [1, 6])
def test_homogeneous_ground_keeps_its_mean_and_gains_looks(method: str, acquisitions: int) -> None:
    looks = GRD_LOOKS * acquisitions
    image = speckled(np.full((160, 160), 0.05), looks)
    filtered = despeckle(image, looks=np.full(image.shape[1:], looks), method=method)  # type: ignore[arg-type]
    # Of the 160 x 160 pixels' own mean: sampling error is no business of the filter.
    assert filtered.mean() == pytest.approx(image.mean(), rel=0.01)
    assert enl(filtered) > 5 * enl(image)


@pytest.mark.parametrize(("method", "most_db"), [("lee", 1.5), ("refined_lee", 0.4)])
@pytest.mark.parametrize("angle_deg", [0, 30, 45, 90, 135, 200, 315])
def test_edges_stay_where_they_are(method: str, most_db: float, angle_deg: int) -> None:
    """Both sides keep their level right up to the edge, where a 7 x 7 mean lifts the dark side by 6 to 9 dB."""
    y, x = np.mgrid[:96, :96] - 47.5
    distance = x * np.cos(np.radians(angle_deg)) + y * np.sin(np.radians(angle_deg))
    truth = np.where(distance > 0, 0.5, 0.02)
    image = speckled(truth, 4 * GRD_LOOKS)
    filtered = despeckle(image, looks=np.full(truth.shape, 4 * GRD_LOOKS), method=method)[0]  # type: ignore[arg-type]
    inner = (slice(8, -8), slice(8, -8))
    for near in ((distance > 1) & (distance < 3), (distance < -1) & (distance > -3)):
        error_db = 10 * np.log10(filtered[inner][near[inner]].mean() / truth[inner][near[inner]].mean())
        assert abs(error_db) < most_db


def test_refined_lee_smooths_beside_edges_where_lee_does_not() -> None:
    truth = np.where(np.arange(96)[None] >= 48, 0.5, 0.02) * np.ones((96, 1))
    looks = np.full(truth.shape, GRD_LOOKS)
    image = speckled(truth, GRD_LOOKS)
    beside = (slice(8, -8), slice(49, 51))
    lee, refined = (despeckle(image, looks=looks, method=method)[0][beside] for method in METHODS)  # type: ignore[arg-type]
    assert enl(refined) > 1.5 * enl(lee)


@pytest.mark.parametrize("method", METHODS)
def test_a_point_target_survives(method: str) -> None:
    truth = np.full((41, 41), 0.05)
    image = speckled(truth, GRD_LOOKS)
    image[0, 20, 20] = 40.0
    filtered = despeckle(image, looks=np.full(truth.shape, GRD_LOOKS), method=method)  # type: ignore[arg-type]
    assert filtered[0, 20, 20] > 20


@pytest.mark.parametrize("method", METHODS)
def test_missing_pixels_stay_missing_and_touch_no_others(method: str) -> None:
    image = speckled(np.full((40, 40), 0.1), GRD_LOOKS)
    looks = np.full((40, 40), GRD_LOOKS)
    image[0, 5:12, 5:30] = np.nan
    image[0, 30, :] = np.nan
    filtered = despeckle(image, looks=looks, method=method)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.isnan(filtered), np.isnan(image))
    assert (filtered[np.isfinite(filtered)] > 0).all()
    alone = np.full((1, 9, 9), np.nan, np.float32)
    alone[0, 4, 4] = 0.3
    assert despeckle(alone, looks=np.full((9, 9), 4.4), method=method)[0, 4, 4] == np.float32(0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_rows_leave_no_seam(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = speckled(np.linspace(0.01, 1, 50)[:, None] * np.ones((1, 30)), GRD_LOOKS)
    looks = np.random.default_rng(3).integers(1, 10, image.shape[1:]) * GRD_LOOKS
    whole = despeckle(image, looks=looks, method=method)  # type: ignore[arg-type]
    monkeypatch.setattr("s1s2pairs.build.despeckle._BLOCK_ROWS", 7)
    np.testing.assert_array_equal(despeckle(image, looks=looks, method=method), whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_as_written_out_pixel_by_pixel(method: str) -> None:
    rng = np.random.default_rng(5)
    image = speckled(rng.uniform(0.01, 1, (18, 21)), GRD_LOOKS, seed=6)
    image[0][rng.random((18, 21)) < 0.15] = np.nan
    looks = rng.integers(1, 11, (18, 21)) * GRD_LOOKS
    filtered = despeckle(image, looks=looks, method=method)[0]  # type: ignore[arg-type]
    plain = plain_lee if method == "lee" else plain_refined_lee
    expected = [[plain(image[0].astype(float), y, x, looks[y, x]) for x in range(21)] for y in range(18)]
    np.testing.assert_allclose(filtered, expected, rtol=1e-5)


def neighbours(image: np.ndarray, y: int, x: int, reach: int) -> dict[tuple[int, int], float]:
    """Return offset -> value of the valid pixels around one."""
    return {
        (dy, dx): image[y + dy, x + dx]
        for dy in range(-reach, reach + 1)
        for dx in range(-reach, reach + 1)
        if 0 <= y + dy < image.shape[0] and 0 <= x + dx < image.shape[1] and np.isfinite(image[y + dy, x + dx])
    }


def estimate(value: float, around: list[float], looks: float) -> float:
    if np.isnan(value):
        return value
    mean, variance = np.mean(around), np.var(around)
    if variance == 0:
        return float(mean)
    signal = max(0.0, (variance - mean**2 / looks) / (1 + 1 / looks))
    return float(mean + signal / variance * (value - mean))


def plain_lee(image: np.ndarray, y: int, x: int, looks: float) -> float:
    return estimate(image[y, x], list(neighbours(image, y, x, 3).values()), looks)


def plain_refined_lee(image: np.ndarray, y: int, x: int, looks: float) -> float:
    around = neighbours(image, y, x, 3)

    def part(dy: int, dx: int) -> float | None:
        values = [v for (j, i), v in around.items() if abs(j - dy) <= 1 and abs(i - dx) <= 1]
        return float(np.mean(values)) if values else None

    centre = part(0, 0) or 0.0
    means = {(dy, dx): part(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2)}
    filled = {offset: centre if mean is None else mean for offset, mean in means.items()}
    halves = [{(int(j) - 3, int(i) - 3) for j, i in np.argwhere(half)} for half in half_windows()]
    # The side of a half window: the mean of the parts that lie wholly in it and off the line through the centre.
    sides = [
        np.mean([m for (dy, dx), m in filled.items() if (dy, dx) in half and (-dy, -dx) not in half]) for half in halves
    ]
    pairs = [(sides[i], sides[i + 1]) for i in range(0, 8, 2)]
    best = int(np.argmax([abs(a - b) for a, b in pairs]))
    one, other = pairs[best]
    half = halves[2 * best + (abs(other - centre) < abs(one - centre))]
    return estimate(image[y, x], [v for offset, v in around.items() if offset in half], looks)
