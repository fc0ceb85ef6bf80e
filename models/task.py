"""What a network gets and what it must give, said as data.

A task names stacks: bands of one sensor at one date. The loader reads a task to know what to put into a batch, the
metrics to know what came out, the previews to know what to draw. Networks declare their task in their `Config`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch

from s1s2pairs.errors import RunError
from s1s2pairs.sensors import S1_POLARISATIONS, S2_BANDS

Sensor: TypeAlias = Literal["s1", "s2"]

Orders: TypeAlias = Literal["forward", "two_way", "all"]
"""In which order the periods of a patch become T1, T2, ...: as time runs; also in reverse; every way there is."""

Batch: TypeAlias = dict[str, torch.Tensor]
"""Samples of one task, batched.

- one entry per stack of the task under `Stack.key`: (batch, band, y, x) float32, scaled to [-1, 1], 0 where invalid
- `valid`: (batch, 1, y, x) bool, True where every stack of the task is valid
- `target_valid`: the same of the target alone, only while an unpaired task is trained; `valid` is then that of the inputs
- `days`: (batch, date) float32, acquisition time of the target's sensor at each date, days since 2014-01-01
- `season`: (batch, date, 2) float32, sine and cosine of the part of the year that has passed at `days`
- `incidence`: (batch, date) float32, mean incidence angle of the radar at each date, degrees
- `relative_orbit`: (batch, date) float32, number of the radar's relative orbit at each date
- `ascending`: (batch, date) float32, 1 where the radar passed northward, 0 where southward
- `sample`: (batch,) int64, number of the sample in the loader's dataset

What is not known of an acquisition is NaN.
"""

CONDITIONS: Final = ("days", "season", "incidence", "relative_orbit", "ascending")
"""Keys of a batch that tell how and when the images were taken."""

UNITS: Final[dict[Sensor, str]] = {"s1": "dB", "s2": "reflectance"}
KNOWN_BANDS: Final[dict[Sensor, tuple[str, ...]]] = {"s1": S1_POLARISATIONS, "s2": tuple(S2_BANDS)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Bands of one sensor at one date of a sample."""

    sensor: Sensor
    date: int
    """0 is T1, the reference date; 1 is T2, the target date. Tasks with three dates also have 2."""
    bands: tuple[str, ...]
    """Band names in channel order, such as `("VV",)` or `("B2", "B3", "B4")`."""
    name: str = ""
    """Tells this stack from others of its sensor and date, such as `swir`; none means the sensor."""

    def __post_init__(self) -> None:
        if self.sensor not in KNOWN_BANDS:
            raise RunError(f"stack of unknown sensor {self.sensor!r}: a sensor is one of {', '.join(KNOWN_BANDS)}")
        if self.date < 0:
            raise RunError(f"stack {self.sensor} at date {self.date}: dates count from 0")
        known = KNOWN_BANDS[self.sensor]
        wrong = [band for band in self.bands if band not in known]
        if wrong:
            raise RunError(f"{self.sensor} has no band {', '.join(wrong)}: choose from {', '.join(known)}")
        if self.name and not self.name.isidentifier():
            raise RunError(f"stack {self.name!r} needs another name: letters, digits and _ only")
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise RunError(f"stack {self.key} needs one or more bands, each once, got {list(self.bands)}")

    @property
    def key(self) -> str:
        """Name of this stack in a batch: `s1_t1`, `s2_t2`, `swir_t2`."""
        return f"{self.name or self.sensor}_t{self.date + 1}"

    @property
    def unit(self) -> str:
        """Physical unit of the values before scaling: `dB` or `reflectance`."""
        return UNITS[self.sensor]

    def covers(self, other: "Stack") -> bool:
        """Tell whether this stack has all bands of another, of whatever date."""
        return self.sensor == other.sensor and set(other.bands) <= set(self.bands)

    def pick(self, values: torch.Tensor, bands: Sequence[str]) -> torch.Tensor:
        """Return some bands of this stack's values, in the order asked for.

        Args:
            values: (batch, band, y, x), the bands being this stack's.
            bands: Names of bands that this stack has.
        """
        return values if tuple(bands) == self.bands else values[:, [self.bands.index(band) for band in bands]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Which stacks go in and which one comes out."""

    name: str
    sources: tuple[Stack, ...]
    """What describes the target date."""
    references: tuple[Stack, ...]
    """The earlier pair, or pairs, that help."""
    target: Stack
    paired: bool = True
    """Whether training shows the target of the same place and dates as the inputs; else that of another sample."""

    def __post_init__(self) -> None:
        keys = [stack.key for stack in self.stacks]
        if len(set(keys)) != len(keys):
            raise RunError(
                f"task {self.name} has stacks of one name: {', '.join(keys)}; give each of the same sensor and date its `name`"
            )
        for stack in self.inputs:
            shown = set(stack.bands) & set(self.target.bands)
            if (stack.sensor, stack.date) == (self.target.sensor, self.target.date) and shown:
                raise RunError(f"task {self.name} shows its target among the inputs: {', '.join(sorted(shown))}")

    @property
    def inputs(self) -> tuple[Stack, ...]:
        """What the network may read: sources, then references."""
        return self.sources + self.references

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Everything a sample holds: the inputs, then the target."""
        return (*self.inputs, self.target)

    @property
    def earlier_targets(self) -> tuple[Stack, ...]:
        """The inputs that show all bands of the target at other dates, by date; one for each date."""
        by_date = {
            stack.date: stack
            for stack in reversed(self.inputs)
            if stack.date != self.target.date and stack.covers(self.target)
        }
        return tuple(by_date[date] for date in sorted(by_date))

    @property
    def n_dates(self) -> int:
        """How many dates there are up to the last one in use."""
        return 1 + max(stack.date for stack in self.stacks)

    @property
    def n_periods(self) -> int:
        """How many periods a sample needs: one for each date up to the last, but one alone where all stacks share a date."""
        return 1 if len({stack.date for stack in self.stacks}) == 1 else self.n_dates


def sar_temporal_shifting(s1_bands: tuple[str, ...], s2_bands: tuple[str, ...]) -> Task:
    """Return the task of TSGAN: S2 of the target date and the pair of the reference date to S1 of the target date."""
    return Task(
        name="sar_temporal_shifting",
        sources=(Stack(sensor="s2", date=1, bands=s2_bands),),
        references=(Stack(sensor="s1", date=0, bands=s1_bands), Stack(sensor="s2", date=0, bands=s2_bands)),
        target=Stack(sensor="s1", date=1, bands=s1_bands),
    )


def optical_to_sar(s1_bands: tuple[str, ...], s2_bands: tuple[str, ...]) -> Task:
    """Return the task of a plain translation: S2 to S1 of the same date."""
    return Task(
        name="optical_to_sar",
        sources=(Stack(sensor="s2", date=1, bands=s2_bands),),
        references=(),
        target=Stack(sensor="s1", date=1, bands=s1_bands),
    )


def optical_temporal_shifting(s1_bands: tuple[str, ...], s2_bands: tuple[str, ...]) -> Task:
    """Return the task of MTcGAN and MCcGAN: S1 of the target date and the pair of the reference date to S2 of the target date."""
    return Task(
        name="optical_temporal_shifting",
        sources=(Stack(sensor="s1", date=1, bands=s1_bands),),
        references=(Stack(sensor="s1", date=0, bands=s1_bands), Stack(sensor="s2", date=0, bands=s2_bands)),
        target=Stack(sensor="s2", date=1, bands=s2_bands),
    )


def sar_to_optical(s1_bands: tuple[str, ...], s2_bands: tuple[str, ...]) -> Task:
    """Return the task of a plain translation: S1 to S2 of the same date."""
    return Task(
        name="sar_to_optical",
        sources=(Stack(sensor="s1", date=1, bands=s1_bands),),
        references=(),
        target=Stack(sensor="s2", date=1, bands=s2_bands),
    )
