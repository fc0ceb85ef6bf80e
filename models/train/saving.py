"""The checkpoints of a run while it trains: `last`, and `best` when it is."""

from pathlib import Path

from torch import Tensor

from s1s2pairs.errors import RunError

from ..runs import checkpoint
from ..runs.checkpoint import Position
from ..runs.folder import CHECKPOINTS
from .average import Average
from .start import Start
from .updates import Updates


class Saving:
    """Writes the checkpoints of a run. Only the first of several processes has one."""

    def __init__(self, run: Path, start: Start, updates: Updates, average: Average | None) -> None:
        """Tidy up what a killed process left: halves of checkpoints, and a `best` that was still to be made from `last`."""
        self._run, self._start = run, start
        self._updates, self._average = updates, average
        self._last, self._best = run / CHECKPOINTS / "last", run / CHECKPOINTS / "best"
        for kept in (self._last, self._best):
            checkpoint.sweep(kept)
        source, position = start.checkpoint_folder, start.position
        if source not in (None, self._best) and position.step == position.best_step:
            checkpoint.copy(source, self._best)

    def save(self, position: Position, training_state: dict[str, Tensor], *, best: bool) -> None:
        """Replace `checkpoints/last`, and make `best` the same if it is.

        Args:
            position: How far the run is.
            training_state: What training remembers beside weights, (process, ...) each.
            best: Whether it is the best so far.

        Raises:
            RunError: The folder cannot be written.
        """
        try:
            checkpoint.save(
                self._last,
                network=self._start.network,
                translator=self._start.translator,
                optimizers=self._updates.plain,
                scaling=self._start.scaling,
                position=position,
                precision_state=self._updates.precision_state,
                training_state=training_state,
                average=None if self._average is None else self._average.state_dict(),
            )
            if best:
                checkpoint.copy(self._last, self._best)
        except OSError as error:
            raise RunError(
                f"{self._last.parent} cannot be written ({error.strerror or error}); the checkpoint there is still the previous "
                f"one; make room and go on with --resume {self._run}"
            ) from error
