"""The folder of a run, and `run.json` in it: everything needed to say what was trained, on what, by which code."""

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from s1s2pairs.dataset.layout import INDEX_FILE
from s1s2pairs.errors import DatasetError, RunError
from s1s2pairs.files import write_whole

from ..scaling import Scaling
from .settings import TrainSettings

RUN_FILE: Final = "run.json"
DATA_FOLDER: Final = Path("data")
PACKAGES: Final = ("s1s2pairs", "torch", "lightning-fabric", "numpy", "rasterio", "safetensors")
"""Packages whose versions are kept with a run."""
GIT_TIMEOUT_S: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Weights of another run that were the first of this one."""

    checkpoint: str
    """Its folder, absolute."""
    network: str
    step: int
    file: Literal["weights", "average"]
    """Which of its files: the one that predicts."""
    sha256: str
    """Of that file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What `run.json` holds."""

    network: str
    """The network's file name in the zoo."""
    seed: int
    task: dict[str, Any]
    config: dict[str, Any]
    """Every setting of the network, defaults included."""
    training: TrainSettings
    scaling: Scaling
    dataset: str | tuple[str, ...]
    """Path of the dataset, absolute; of each, where there are several."""
    dataset_sha256: str | tuple[str, ...]
    """Of its index, which holds the hash of every patch; of each dataset's, in the same order."""
    samples: dict[str, int]
    """Samples per split used."""
    best_by: str
    """How `checkpoints/best` is chosen."""
    device: str
    precision: str
    processes: int
    started_at: str
    versions: dict[str, str]
    git: dict[str, str | bool] | None
    """Commit of this code, and whether files differed from it. None outside a git checkout."""
    pixel_sizes_m: tuple[float, ...] = ()
    """Pixel sizes of the training patches, metres, nearly always one; empty in runs begun before this was kept."""
    init: Origin | None = None
    """Where the first weights came from; None where they were drawn from the seed."""
    resumed: tuple[dict[str, Any], ...] = ()
    """One entry per time the run went on: when, at which step, from which checkpoint, with which versions."""
    status: Literal["running", "finished", "stopped"] = "running"
    """A run that was killed still says `running`."""
    result: dict[str, Any] = field(default_factory=dict)
    """Steps, epochs and best validation, once finished; the reason, once stopped."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """Return the path of every dataset."""
        return (self.dataset,) if isinstance(self.dataset, str) else self.dataset

    @property
    def dataset_hashes(self) -> tuple[str, ...]:
        """Return the SHA-256 of every dataset's index."""
        return (self.dataset_sha256,) if isinstance(self.dataset_sha256, str) else self.dataset_sha256

    @property
    def last_precision(self) -> str:
        """Precision when the run last began or went on."""
        return str(self.resumed[-1].get("precision", self.precision)) if self.resumed else self.precision

    def processes_before(self, step: int | None = None) -> int:
        """Return how many processes made a step, counted from 1; None asks for when the run last began or went on."""
        later = [entry for entry in self.resumed if step is None or entry["step"] < step]
        return int(later[-1].get("processes", self.processes)) if later else self.processes


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What a finished run came to."""

    run: Path
    steps: int
    epochs: int
    """Whole epochs."""
    best_l1: float | None
    """Lowest validation L1 on the network's scale; None without a val split, or where another figure chose."""
    best_step: int | None
    best: dict[str, float] = field(default_factory=dict)
    """The best value of the figure that chose, by its name; empty without a val split."""
    stopped_early: str | None = None
    """Why not all epochs were trained; None where `patience` had no say."""

    def __str__(self) -> str:
        """Return one line for the end of a command."""
        best = "".join(
            f", best val {'L1' if name == 'l1' else name} {value:.4g} at step {self.best_step}"
            for name, value in self.best.items()
        )
        early = f", stopped early: {self.stopped_early}" if self.stopped_early else ""
        return f"{self.run}: {self.epochs} epochs, {self.steps} steps{best}{early}"


def default_dataset(root: Path = DATA_FOLDER) -> Path:
    """Return the only dataset under `root`.

    Raises:
        RunError: There is none, or more than one.
    """
    found = sorted(index.parent for index in root.glob(f"*/{INDEX_FILE}"))
    if not found:
        raise RunError(f"there is no dataset under {root}/; build one with `s1s2 build RECIPE`, or name it with --data")
    if len(found) > 1:
        raise RunError(
            f"there are {len(found)} datasets under {root}/: {', '.join(map(str, found))}; choose with --data"
        )
    return found[0]


def write_record(run: Path, record: RunRecord) -> None:
    """Write `run.json` in one step."""
    write_whole(run / RUN_FILE, (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode())


def read_record(run: Path) -> RunRecord:
    """Read `run.json`.

    Raises:
        RunError: It is missing or damaged.
    """
    path = run / RUN_FILE
    try:
        return TypeAdapter(RunRecord).validate_json(path.read_bytes())
    except OSError as error:
        raise RunError(f"{run} is no run folder: it has no {RUN_FILE}; runs are made by `s1s2 train`") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} is damaged or of another version: {where}: {first['msg']}; train again") from error


def trained_pixel_sizes(run_or_checkpoint: Path) -> tuple[float, ...]:
    """Return the pixel sizes a run was trained on, metres; empty where no readable `run.json` tells.

    Args:
        run_or_checkpoint: Folder of a run, or of one of its checkpoints.
    """
    folders = (run_or_checkpoint, run_or_checkpoint.resolve().parent.parent)
    run = next((folder for folder in folders if (folder / RUN_FILE).is_file()), None)
    try:
        return read_record(run).pixel_sizes_m if run else ()
    except RunError:  # a network works without its record
        return ()


@contextlib.contextmanager
def kept_record(run: Path, record: RunRecord, *, enabled: bool) -> Iterator[Callable[[RunResult], RunResult]]:
    """Write `run.json` when a run begins, and again when it ends or stops, whatever the reason.

    Args:
        run: Folder of the run.
        record: What it says at the beginning.
        enabled: Whether this process writes.

    Yields:
        What takes the result, and gives it back.
    """

    def write(status: Literal["running", "finished", "stopped"], result: dict[str, Any]) -> None:
        if enabled:
            write_record(run, dataclasses.replace(record, status=status, result=result))

    def finish(result: RunResult) -> RunResult:
        described = dataclasses.asdict(result)
        write("finished", described | {"run": str(result.run), "at": now()})
        return result

    write("running", {})
    try:
        yield finish
    except BaseException as error:  # also when the user stops it
        write("stopped", {"reason": f"{type(error).__name__}: {error}", "at": now()})
        raise


def check_same_datasets(record: RunRecord, found: Mapping[str, str]) -> None:
    """Refuse to go on with a run on other data.

    Args:
        record: The run.
        found: SHA-256 of the index of each dataset, by the dataset's path.

    Raises:
        DatasetError: The datasets are not the ones the run began with, in their order.
    """
    if len(found) != len(record.dataset_hashes):
        raise DatasetError(
            f"{len(found)} datasets are given ({', '.join(found)}), the run was trained on {len(record.dataset_hashes)}: "
            f"{', '.join(record.datasets)}; give as many, in that order, or leave out --data"
        )
    for (dataset, sha256), wanted in zip(found.items(), record.dataset_hashes, strict=True):
        if sha256 != wanted:
            raise DatasetError(
                f"{dataset}: its index is not the one this run was trained on (SHA-256 {sha256[:12]}, the run has "
                f"{wanted[:12]}); restore the dataset, or train anew"
                + ("; several have the order of the run" if len(found) > 1 else "")
            )


def now() -> str:
    """Return the time, UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a run gives."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def git_state() -> dict[str, str | bool] | None:
    """Return commit and cleanness of the checkout this file lies in, None when there is no git or no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]  # a fixed program, no shell
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)  # noqa: S603
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
