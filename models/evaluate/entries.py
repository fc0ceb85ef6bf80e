"""Who is scored against whom: runs loaded, named and put into groups that can share their pixels, and their baselines."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from ..runs.loading import Loaded, load_translator
from ..runs.record import RUN_FILE, RunRecord, read_record
from ..runs.settings import HOW_IT_RUNS
from ..scaling import Scaling
from ..task import Batch, Stack, Task
from ..translator import Prediction
from . import baselines
from .results import Entry

HARMLESS_SETTINGS: Final = frozenset({"seed", "deterministic", *HOW_IT_RUNS})
"""Settings of a training that may differ between seeds of the same network."""


@dataclass(kw_only=True, slots=True)
class Group:
    """Runs that predict the same target from stacks that fit together; they are scored on the same pixels."""

    name: str
    """The target, such as `s1_t2 (VV)`; numbered where several groups predict it. Only runs of one group are ranked."""
    scaling: Scaling
    n_dates: int
    target: Stack
    stacks: dict[str, Stack] = field(default_factory=dict)
    """By key: everything the runs read, and the target."""
    runs: list[tuple[Entry, Loaded]] = field(default_factory=list)

    def takes(self, task: Task, scaling: Scaling) -> bool:
        """Return whether a task can be scored together with those already here."""
        agree = all(self.stacks.get(stack.key, stack) == stack for stack in task.stacks)
        return agree and (self.target, self.scaling, self.n_dates) == (task.target, scaling, task.n_dates)

    @property
    def task(self) -> Task:
        """One task with everything the runs read."""
        references = tuple(stack for stack in self.stacks.values() if stack.date != self.target.date)
        sources = tuple(
            stack for stack in self.stacks.values() if stack.date == self.target.date and stack != self.target
        )
        return Task(name="evaluation", sources=sources, references=references, target=self.target)


def load_groups(runs: Sequence[Path], which: Literal["best", "last"]) -> list[Group]:
    """Load the runs and put together those that can be scored on the same pixels; a run named twice counts once."""
    runs = list({path.resolve(): path for path in runs}.values())
    loaded = [load_translator(path, which, device="cpu") for path in runs]
    groups: list[Group] = []
    for entry, run in zip(_entries(runs, loaded), loaded, strict=True):
        task = scored_task(run.translator.task)
        group = next((group for group in groups if group.takes(task, run.scaling)), None)
        if group is None:
            number = 1 + sum(other.target == task.target for other in groups)
            name = f"{task.target.key} ({', '.join(task.target.bands)})" + (f", group {number}" if number > 1 else "")
            group = Group(name=name, scaling=run.scaling, n_dates=task.n_dates, target=task.target)
            groups.append(group)
        group.stacks.update({stack.key: stack for stack in task.stacks})
        group.runs.append((replace(entry, target=group.name), run))
    return groups


def scored_task(task: Task) -> Task:
    """Return a task with the earlier image of its target's bands added, if it lacks one.

    That image defines changed ground and is what `copy_t1` gives, so that networks without a reference can be compared too.
    """
    if task.earlier_targets:
        return task
    target = task.target
    date = next(date for date in itertools.count() if date != target.date)
    reference = Stack(sensor=target.sensor, date=date, bands=target.bands, name=target.name)
    if reference.key in {stack.key for stack in task.stacks}:  # of other bands
        reference = replace(reference, name="reference")
    return replace(task, references=(*task.references, reference))


def baseline_entries(group: Group, *, marked: bool) -> Iterator[tuple[Entry, Callable[[Batch], Prediction]]]:
    """Yield every baseline that a group's task allows; `marked` puts the group into the names."""
    task = group.task
    for name, baseline in baselines.BASELINES.items():
        if baselines.why_unusable(name, task) is None:
            label = f"{name} of {group.name}" if marked else name
            entry = Entry(run=label, network=name, label=label, seed=None, target=group.name, baseline=True, path=None)
            yield entry, functools.partial(_predict_baseline, baseline, task)


def _predict_baseline(baseline: baselines.Baseline, task: Task, batch: Batch) -> Prediction:
    return Prediction(baseline(batch, task))


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
        described = ", ".join(f"{key}={_plain(own[key])}" for key in differing)
        entries.append(
            Entry(
                run=name if names.count(name) == 1 else str(path),
                network=network,
                label=f"{network} ({described})" if described else network,
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
    return {**run.checkpoint.config, **training, "dataset": record.dataset_sha256[:8]}


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
