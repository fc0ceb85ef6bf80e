"""The folder of a run: who may have it, and how a run that never got to a checkpoint has it again."""

import contextlib
import dataclasses
import errno
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from s1s2pairs.errors import RunError

from .loading import has_checkpoint
from .record import RUN_FILE, RunRecord, read_record

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

RUNS_FOLDER: Final = Path("runs")
METRICS_FILE: Final = "metrics.csv"
CHECKPOINTS, SAMPLES, TENSORBOARD = "checkpoints", "samples", "tensorboard"
LOCK_FILE: Final = ".lock"
"""There while a process trains in the folder."""
DECIDES: Final = ("network", "config", "training", "scaling", "dataset_sha256", "init")
"""Parts of a record that say whether two commands mean the same run."""


def claim_folder(out: Path | None, name: str, record: RunRecord | None = None) -> Path:
    """Make the folder of a new run, or take that of the same run if it was stopped before its first checkpoint.

    Args:
        out: The folder wanted; none takes the first free `runs/<name>-<n>`.
        name: The network's name as the user typed it.
        record: The new run; none takes no folder in which a run has begun.

    Raises:
        RunError: The folder already holds something else.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(not _is_scrap(path) for path in out.iterdir())):
            _refuse_unless_same(out, record)
        out.mkdir(parents=True, exist_ok=True)
        return out
    RUNS_FOLDER.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = RUNS_FOLDER / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def clear(run: Path) -> None:
    """Delete what a run wrote that was stopped before its first checkpoint; its record stays until the next one.

    Raises:
        RunError: There is a checkpoint.
    """
    if has_checkpoint(run):
        raise RunError(f"{run} has a checkpoint by now, of another process; go on with it by --resume {run}")
    for path in (*(run / name for name in (CHECKPOINTS, SAMPLES, TENSORBOARD)), run / METRICS_FILE, *run.iterdir()):
        if path.is_dir() and path.name in (CHECKPOINTS, SAMPLES, TENSORBOARD):
            shutil.rmtree(path)
        elif path.name == METRICS_FILE or (_is_scrap(path) and path.name != LOCK_FILE):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def occupied(run: Path) -> Iterator[None]:
    """Keep others from training in a run's folder. The lock dies with its holder.

    Raises:
        RunError: Another process trains there.
    """
    path = run / LOCK_FILE
    with path.open("a") as file:
        if sys.platform != "win32":
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone, not of those it forks
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise RunError(
                        f"{run} is in use: another process trains there; wait for it, stop it, or choose another --out"
                    ) from error
                logger.warning("No file locks at %s: nothing keeps another process from training there too.", run)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_scrap(path: Path) -> bool:
    """Return whether a killed process may have left this before it wrote anything of worth."""
    return path.name == LOCK_FILE or path.match(f".{RUN_FILE}.*.part")


def _refuse_unless_same(out: Path, record: RunRecord | None) -> None:
    if record is None or not (out / RUN_FILE).is_file() or has_checkpoint(out):
        raise RunError(f"{out} is not empty; choose another --out, or go on with that run by --resume {out}")
    there, wanted = _plain(read_record(out)), _plain(record)
    differing = [name for name in DECIDES if there[name] != wanted[name]]
    if differing:
        raise RunError(
            f"{out} is not empty: a run with other settings ({', '.join(differing)}) was stopped there before its first "
            f"checkpoint; start it again by --resume {out}, delete it, or choose another --out"
        )


def _plain(record: RunRecord) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record)))
    return values
