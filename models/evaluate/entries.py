"""Who is scored against whom: runs loaded, named and put into groups that can share their pixels, and their baselines."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from .. import zoo
from ..network_names import aliases
from ..runs.loading import Loaded, load_translator
from ..runs.record import RUN_FILE, RunRecord, read_record
from ..runs.settings import HOW_IT_RUNS
from ..scaling import Scaling
from ..task import CONDITIONS, KNOWN_BANDS, Batch, Stack, Task
from ..translator import Prediction
from . import baselines
from .results import Entry

HARMLESS_SETTINGS: Final = frozenset({"seed", "deterministic", *HOW_IT_RUNS})
"""Settings of a training that may differ between seeds of the same network."""


@dataclass(kw_only=True, slots=True)
class Group:
    """Runs that predict the same target; they are scored on the same samples and pixels.

    A group's task has a stack for each choice of bands of a sensor and date, named after them. What a run calls its stacks, and
    in which order it reads bands, is its own matter: `batch_of` gives each run its own.
    """

    name: str
    """The target, such as `s1_t2 (VV)`; numbered where several groups predict it. Only runs of one group are ranked."""
    scaling: Scaling
    n_dates: int
    target: Stack
    inputs: set[Stack] = field(default_factory=set)
    """What the runs read, and the earlier image of the target."""
    runs: list[tuple[Entry, Loaded]] = field(default_factory=list)

    def takes(self, task: Task, scaling: Scaling) -> bool:
        """Return whether a task has the target, the scaling and the number of dates of those already here."""
        target = scored_target(task)
        same = (target.sensor, target.date, set(target.bands)) == (
            self.target.sensor, self.target.date, set(self.target.bands)
        )  # fmt: skip
        return same and (scaling, _scored_dates(task)) == (self.scaling, self.n_dates)

    def add(self, entry: Entry, run: Loaded) -> None:
        """Take in a run whose task fits."""
        self.include(run.translator.task)
        self.runs.append((replace(entry, target=self.name), run))

    def include(self, task: Task) -> None:
        """Add what a task reads, and the earlier image of the target's bands if it reads none."""
        dates = shared_dates(task)
        self.inputs |= {_named_by_bands(stack, dates[stack.date]) for stack in task.inputs}
        if not task.earlier_targets:
            earlier = next(date for date in itertools.count() if date != self.target.date)
            self.inputs.add(_named_by_bands(self.target, earlier))

    @property
    def task(self) -> Task:
        """One task with everything the runs read, and an earlier image of the target's bands.

        That image defines changed ground and is what `copy_t1` gives, so that networks without a reference can be compared too.
        Evaluation shows pairs, also to networks that were trained on unpaired images.
        """
        stacks = sorted(self.inputs, key=lambda stack: (stack.date, stack.sensor, -len(stack.bands), stack.bands))
        return Task(
            name="evaluation",
            sources=tuple(stack for stack in stacks if stack.date == self.target.date),
            references=tuple(stack for stack in stacks if stack.date != self.target.date),
            target=self.target,
        )

    def batch_of(self, task: Task, batch: Batch) -> Batch:
        """Return a batch of the group's task as a run with another task reads it: its own stacks, dates and order of bands."""
        dates = shared_dates(task)
        own = {key: batch[key] for key in ("valid", "sample")}
        own |= {key: batch[key][:, list(dates)] for key in CONDITIONS}
        for stack in task.stacks:
            held = self.target if stack == task.target else _named_by_bands(stack, dates[stack.date])
            own[stack.key] = held.pick(batch[held.key], stack.bands)
        return own

    def predict(self, run: Loaded, batch: Batch) -> Prediction:
        """Let a run predict a batch of the group's task; bands come out in the order of the group's target."""
        task = run.translator.task
        prediction: Prediction = run.translator(self.batch_of(task, batch))
        spread = None if prediction.spread is None else task.target.pick(prediction.spread, self.target.bands)
        return Prediction(task.target.pick(prediction.mean, self.target.bands), spread)


def _named_by_bands(stack: Stack, date: int) -> Stack:
    """Return a stack of the same bands, in the order of the sensor, under a name that no other choice of bands has."""
    bands = tuple(band for band in KNOWN_BANDS[stack.sensor] if band in stack.bands)
    return Stack(sensor=stack.sensor, date=date, bands=bands, name="_".join((stack.sensor, *bands)))


def shared_dates(task: Task) -> tuple[int, ...]:
    """Return which date of its group each date of a task is.

    Tasks with one date and with two are scored on the same pairs: the target is shown at date 1, the other date is 0. So
    `forward` is the later image predicted from the earlier. Tasks with more dates keep them.
    """
    if task.n_periods == 1:
        return (1,) * task.n_dates
    return (1, 0) if task.n_dates == 2 and task.target.date == 0 else tuple(range(task.n_dates))


def at_shared_dates(task: Task) -> Task:
    """Return a task with its dates named as those of its group, where T2 is the predicted one of two."""
    dates = shared_dates(task)
    sources, references = (
        tuple(replace(stack, date=dates[stack.date]) for stack in stacks) for stacks in (task.sources, task.references)
    )
    target = replace(task.target, date=dates[task.target.date])
    return replace(task, sources=sources, references=references, target=target)


def scored_target(task: Task) -> Stack:
    """Return the target of a task at the date of its group, named by its sensor."""
    return replace(task.target, date=shared_dates(task)[task.target.date], name="")


def _scored_dates(task: Task) -> int:
    return max(2, *(1 + date for date in shared_dates(task)))


def begin_group(task: Task, scaling: Scaling, *, number: int = 1) -> Group:
    """Return a group that is to take in a task; `number` counts those that predict the same."""
    target = scored_target(task)
    name = f"{target.key} ({', '.join(target.bands)})" + (f", group {number}" if number > 1 else "")
    return Group(name=name, scaling=scaling, n_dates=_scored_dates(task), target=target)


def load_groups(runs: Sequence[Path], which: Literal["best", "last"]) -> list[Group]:
    """Load the runs and put together those that can be scored on the same pixels; a run named twice counts once."""
    runs = list({path.resolve(): path for path in runs}.values())
    loaded = [load_translator(path, which, device="cpu") for path in runs]
    groups: list[Group] = []
    for entry, run in zip(_entries(runs, loaded), loaded, strict=True):
        task = run.translator.task
        group = next((group for group in groups if group.takes(task, run.scaling)), None)
        if group is None:
            target = scored_target(task)
            group = begin_group(task, run.scaling, number=1 + sum(other.target == target for other in groups))
            groups.append(group)
        group.add(entry, run)
    return groups


def baseline_entries(group: Group, *, marked: bool) -> Iterator[tuple[Entry, baselines.Baseline]]:
    """Yield every baseline that a group's task allows; `marked` puts the group into the names."""
    task = group.task
    for name, baseline in baselines.BASELINES.items():
        if baselines.why_unusable(name, task) is None:
            label = f"{name} of {group.name}" if marked else name
            entry = Entry(run=label, network=name, label=label, seed=None, target=group.name, baseline=True, path=None)
            yield entry, baseline


def _entries(runs: Sequence[Path], loaded: Sequence[Loaded]) -> list[Entry]:
    """Name the runs; equal folder names are told apart by their paths, equal networks by the settings that differ.

    What then still shares label and seed (two checkpoints of one run) is no second seed, and gets its name into the label.
    """
    names = [path.resolve().name for path in runs]
    records = [_record(path) for path in runs]
    settings = [_settings(run, record) for run, record in zip(loaded, records, strict=True)]
    entries = []
    for path, name, run, record, own in zip(runs, names, loaded, records, settings, strict=True):
        network = run.checkpoint.network
        others = [other for other, peer in zip(settings, loaded, strict=True) if peer.checkpoint.network == network]
        differing = [key for key in own if any(other.get(key) != own[key] for other in others)]
        known_as, told = _published_name(network, own, differing)
        described = ", ".join(f"{key}={_plain(own[key])}" for key in differing if key not in told)
        entries.append(
            Entry(
                run=name if names.count(name) == 1 else str(path),
                network=network,
                label=f"{known_as} ({described})" if described else known_as,
                seed=record.seed if record else None,
                target=run.translator.task.target.key,
                baseline=False,
                path=str(path),
            )
        )
    labelled = [(entry.label, entry.seed) for entry in entries]
    return [
        entry if labelled.count((entry.label, entry.seed)) == 1 else replace(entry, label=f"{entry.label}, {entry.run}")
        for entry in entries
    ]


def _published_name(network: str, settings: Mapping[str, Any], differing: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the alias that tells a run from others of its network, and the settings it stands for; else the network's name."""
    best: tuple[str, Sequence[str]] = (network, ())
    for alias, (name, preset) in aliases().items():
        if name == network and set(preset) & set(differing) and not zoo.resolve(alias).contradicted_by(settings):
            best = max(best, (alias, list(preset)), key=lambda found: len(found[1]))
    return best


def _record(path: Path) -> RunRecord | None:
    """Read a run's record; a checkpoint's folder lies two levels below its run's. None for a checkpoint copied elsewhere."""
    for folder in (path, path.resolve().parent.parent):
        if (folder / RUN_FILE).is_file():
            return read_record(folder)
    return None


def _settings(run: Loaded, record: RunRecord | None) -> dict[str, Any]:
    """Return what makes two runs of a network more than two seeds of the same thing."""
    if record is None:
        return run.checkpoint.config
    training = {key: value for key, value in asdict(record.training).items() if key not in HARMLESS_SETTINGS}
    return {**run.checkpoint.config, **training, "dataset": "+".join(sha256[:8] for sha256 in record.dataset_hashes)}


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
