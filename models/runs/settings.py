"""How a run is trained, apart from what its network's own `Config` says."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from s1s2pairs.errors import RunError

from ..config import parse, refuse_unknown
from ..task import Orders
from ..zoo import NetworkInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """Settings of the loop; those of the network, with epochs, batch size and learning rate, are in its `Config`."""

    seed: int = 0
    """Of the first weights, the order of the data and dropout."""
    max_steps: int | None = None
    """Stop after this many steps, even in the middle of an epoch; none trains all epochs."""
    orders: Orders = "two_way"
    """Use each location forward in time, two_way also backward, all in every order of three dates or more."""
    crop: int | None = None
    """Train on random squares of this side in pixels, a new one in each epoch; none trains on whole patches."""
    s2_range: tuple[float, float] = (0.0, 1.0)
    """Reflectances that become -1 and 1; those beyond are clipped. 0,0.3 spreads dark ground more."""
    clip_norm: float | None = None
    """Largest norm of each part's gradients; none does not clip."""
    accumulate: int = 1
    """Batches whose gradients are added up before each update: a step learns from so many times `batch_size` samples."""
    ema: float | None = None
    """Share of itself that the moving average of the weights keeps at each step, such as 0.999; it predicts in their place.
    None keeps no average."""
    select: str = "l1"
    """Figure of the val split by which `checkpoints/best` is chosen: l1, psnr_db, or a metric of the evaluation, as `psnr`
    or `psnr_changed`."""
    patience: int | None = None
    """Stop after so many epochs in a row without a better figure; none trains all epochs."""
    deterministic: bool = False
    """Only algorithms that give the same bits in each run."""
    compile: bool = False
    """Compile the networks with `torch.compile`: a slow start, then faster steps on a GPU."""
    channels_last: bool | None = False
    """Lay weights out in memory with the channels last; none, which runs of before may have, means false."""
    workers: int | None = None
    """Processes that read ahead; none means up to 4, leaving one core free. 0 reads in the training process."""
    checkpoint_every_steps: int | None = None
    """Save `last` also every so many steps; none saves after each epoch only."""
    log_every_steps: int = 20
    """Steps between two lines of the log. On a GPU, losses are looked at only then."""
    pictures: int = 4
    """Samples drawn after each epoch."""

    def __post_init__(self) -> None:
        counts = ("max_steps", "crop", "accumulate", "patience", "checkpoint_every_steps", "log_every_steps")
        for key, least in {"seed": 0, "workers": 0, "pictures": 0, **dict.fromkeys(counts, 1)}.items():
            value = getattr(self, key)
            if value is not None and value < least:
                raise RunError(f"{key}={value} does not fit: the least is {least}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise RunError(f"clip_norm={self.clip_norm} does not fit: it must be above 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise RunError(f"ema={self.ema} does not fit: it must be above 0 and below 1, such as 0.999")
        if not self.s2_range[0] < self.s2_range[1]:
            raise RunError(f"s2_range={self.s2_range} does not fit: the first value must be the lower one")


HOW_IT_RUNS: Final = ("workers", "compile", "channels_last", "checkpoint_every_steps", "log_every_steps", "pictures")
"""Settings that change how a training runs, not what it learns."""
CHANGEABLE: Final = ("epochs", "max_steps", "patience", *HOW_IT_RUNS)
"""What may be set anew when a run is resumed: how long it goes on and how it runs."""


def split(info: NetworkInfo, given: Mapping[str, str]) -> tuple[TrainSettings, dict[str, str]]:
    """Part what a user typed after `--set` into settings of the loop and settings of the network.

    Args:
        info: The network.
        given: `key=value` pairs.

    Returns:
        The parsed settings of the loop, and the rest, which are fields of the network's `Config`, not parsed yet.

    Raises:
        RunError: Unknown key, or a value of the loop's that does not fit.
    """
    own = [field.name for field in dataclasses.fields(TrainSettings)]
    refuse_unknown(given, {info.name: info.config.names(), "training": own})
    values = parse(TrainSettings, {key: text for key, text in given.items() if key in own})
    defaults: dict[str, Any] = {**info.config.training_defaults}
    return TrainSettings(**(defaults | values)), {key: text for key, text in given.items() if key not in own}
