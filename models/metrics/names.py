"""What metrics are called where people read them, which way they improve, and how they are pooled over images."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .pixels import PSNR_CEILING_DB, FloatArray, cc, kge, r2, skill


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricName:
    """How a metric is shown."""

    label: str
    unit: str = ""
    best: Literal["high", "low", "one"] = "high"
    decimals: int = 3
    ceiling: float | None = None
    """Value given to a perfect image, where the formula has none."""
    meaning: str
    pooled: Callable[[FloatArray], FloatArray] | None = None
    """Works it out from the sums over a group's pixels (`pixels.Sums`), for those that are worked out so in every unit."""

    @property
    def arrow(self) -> str:
        """Return which way is better."""
        return {"high": "↑", "low": "↓", "one": "→ 1"}[self.best]

    @property
    def scale(self) -> str:
        """Return unit and arrow: `dB ↑`."""
        return f"{self.unit} {self.arrow}".lstrip()

    @property
    def head(self) -> str:
        """Return label, unit and arrow: `PSNR [dB] ↑`."""
        return f"{self.label} [{self.unit}] {self.arrow}" if self.unit else f"{self.label} {self.arrow}"

    def better(self, value: float) -> float:
        """Return a number that is larger the better `value` is."""
        if self.best == "one":
            return -abs(math.log(value)) if value > 0 else -math.inf
        return -value if self.best == "low" else value


def _error(label: str, unit: str, decimals: int, what: str) -> MetricName:
    return MetricName(label=label, unit=unit, best="low", decimals=decimals, meaning=f"{what} of prediction - target")


def _psnr(label: str, what: str) -> MetricName:
    return MetricName(
        label=label, unit="dB", decimals=2, ceiling=PSNR_CEILING_DB, meaning=f"peak signal-to-noise ratio{what}"
    )


_MAE, _RMSE = "mean absolute value", "root mean square"
METRICS: Final[Mapping[str, MetricName]] = {
    "psnr": _psnr("PSNR", ""),
    "ssim": MetricName(label="SSIM", meaning="structural similarity; 1 is perfect"),
    "wpsnr": _psnr("change-weighted PSNR", ", pixels weighted by how much the ground changed"),
    "wssim": MetricName(label="change-weighted SSIM", meaning="SSIM weighted by how much the ground changed"),
    "psnr_2to1": _psnr("PSNR 2:1", ", unchanged pixels weighing twice as much as changed ones"),
    "ssim_2to1": MetricName(label="SSIM 2:1", meaning="SSIM, unchanged pixels weighing twice as much as changed ones"),
    "mae_db": _error("MAE", "dB", 2, _MAE),
    "mae_reflectance": _error("MAE", "reflectance", 4, _MAE),
    "mae_ndvi": _error("MAE", "NDVI", 3, _MAE),
    "rmse_db": _error("RMSE", "dB", 2, _RMSE),
    "rmse_reflectance": _error("RMSE", "reflectance", 4, _RMSE),
    "rmse_ndvi": _error("RMSE", "NDVI", 3, _RMSE),
    "r2": MetricName(label="R²", meaning="coefficient of determination; 1 is perfect", pooled=r2),
    "kge": MetricName(label="KGE", meaning="Kling-Gupta efficiency; 1 is perfect", pooled=kge),
    "cc": MetricName(
        label="correlation", meaning="Pearson's correlation of prediction and target over pixels", pooled=cc
    ),
    "skill": MetricName(
        label="skill over copying",
        meaning="1 - MSE / MSE of copying the earlier image: 1 is perfect, 0 no better",
        pooled=skill,
    ),
    "sam_deg": MetricName(
        label="spectral angle", unit="°", best="low", decimals=2, meaning="angle between spectra, mean over pixels"
    ),
    "sam_rad": MetricName(
        label="spectral angle", unit="rad", best="low", meaning="angle between spectra, mean over pixels"
    ),
    "sam_flat_rad": MetricName(
        label="angle of whole arrays",
        unit="rad",
        best="low",
        meaning="angle between prediction and target as two long vectors",
    ),
    "hf_ratio": MetricName(
        label="fine detail ratio",
        best="one",
        meaning="energy of detail finer than four pixels, prediction / target: below 1 blurred, above 1 noisier",
    ),
    "gradient_ratio": MetricName(
        label="gradient ratio",
        best="one",
        meaning="mean gradient, prediction / target: below 1 blurred, above 1 noisier",
    ),
    "lsd_db": MetricName(
        label="log-spectral distance",
        unit="dB",
        best="low",
        decimals=2,
        meaning="root mean square, over spatial frequencies, of how far the power of the prediction is from the target's",
    ),
}
"""By the name in `evaluation.json`."""
