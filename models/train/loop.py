"""The training loop.

One loop serves every network: a network's step yields `(part, loss)` whenever it wants that part updated; the loop clears
gradients, propagates back, clips, steps and resumes it. Each part is set up with its own optimizer through Lightning
Fabric, which brings devices, mixed precision and DDP.

Runs can be repeated and resumed because nothing depends on history but weights and optimizer state: the order of the data
is a function of (seed, epoch), and torch's random numbers are seeded anew at each step from (seed, process, step).
"""

import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from s1s2pairs.errors import RunError

from ..data.loader import EpochBatches, make_loader, to_network
from ..data.patches import RawBatch
from ..hardware import choose_hardware, default_workers, explain_failure, numerics, part_from_others, seed_step
from ..processes import is_first_process
from ..runs.folder import claim_folder, clear, occupied
from ..runs.record import RunRecord, RunResult, kept_record
from ..translator import TrainingProgress
from . import setup
from .average import begin_average
from .log import LossMeter, RunLog
from .saving import Saving
from .start import Datasets, Start, all_is_trained, find_earlier, has_lost_patience, start_new, start_resumed
from .updates import Updates
from .validation import draw, validate

logging.getLogger("lightning_fabric").setLevel(logging.getLogger().level)  # importing it has set INFO


def train(
    network: str,
    datasets: Datasets | None,
    *,
    settings: Mapping[str, str] | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    init: Path | None = None,
    device: str = "auto",
    devices: int | None = None,
    precision: str | None = None,
    quiet: bool = False,
) -> RunResult:
    """Train a network, or go on with a run.

    Args:
        network: A network of the zoo, or an alias.
        datasets: Folder or URL made by `s1s2 build`, or several; may be None when a run goes on.
        settings: `key=value` settings of the loop and of the network, as typed.
        out: Folder of a new run; none takes the first free `runs/<network>-<n>`.
        resume: Folder of a run, or of one of its checkpoints, to go on from.
        init: Folder of a run, or of one of its checkpoints, whose weights a new run starts from; of a run, the best.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        devices: Processes on this machine; none means 1, or what torchrun started.
        precision: `32-true`, `bf16-mixed` or `16-mixed`; none means that of the run that goes on, for a new one bf16-mixed
            on CUDA, 32-true elsewhere.
        quiet: Show no progress.

    Raises:
        RunError: An argument does not fit, a loss is no number, or memory is too small.
        DatasetError: A dataset is missing or damaged.
    """
    # What is trained on which devices, checked before anything is written.
    if resume is not None and out is not None:
        raise RunError("--out and --resume contradict each other: a resumed run stays in its folder")
    if resume is not None and init is not None:
        raise RunError("--init and --resume contradict each other: a resumed run goes on with its own weights")
    earlier = None if resume is None else find_earlier(resume)
    hardware = choose_hardware(device, devices, precision, kept=earlier.record.last_precision if earlier else None)
    if earlier is not None:
        start = start_resumed(network, earlier, datasets, settings or {})
    elif not datasets:
        raise RunError("no dataset given: name one with --data")
    else:
        start = start_new(network, datasets, settings or {}, init)
    batches = EpochBatches(
        start.train_data,
        batch_size=start.translator.config.batch_size,
        seed=start.training.seed,
        world_size=hardware.processes,
        accumulate=start.training.accumulate,
    )
    record = setup.begin_record(start, hardware)
    fabric = setup.make_fabric(hardware)

    # The processes. The first claims the run's folder before it starts the others, which run this function from its top.
    with contextlib.ExitStack() as until_end:
        folder = start.run
        if is_first_process():
            folder = folder or claim_folder(out, network, record)
            until_end.enter_context(occupied(folder))
            if start.checkpoint is None:
                clear(folder)  # of what the same run may have written before its first checkpoint
            setup.note_changes(start, hardware)
        if os.environ.get("LT_CLI_USED") != "1":  # `fabric run` has launched already
            fabric.launch()
        until_end.push(lambda kind, *_: part_from_others(fabric, failed=kind is not None))
        folder = Path(fabric.broadcast(str(folder)))
        batches.rank = fabric.global_rank
        try:
            return _run(fabric, start, batches, folder, record, quiet=quiet)
        except KeyboardInterrupt as stop:
            stop.add_note(setup.how_to_go_on(folder, network, device=device, devices=devices, precision=precision))
            raise


def _run(
    fabric: Fabric, start: Start, batches: EpochBatches, folder: Path, record: RunRecord, *, quiet: bool
) -> RunResult:
    """Train in one process; the run's record says how it ended, whichever way that was."""
    with numerics(fabric.device, deterministic=start.training.deterministic):
        try:
            with kept_record(folder, record, enabled=fabric.is_global_zero) as finish:
                return finish(_Loop(fabric, start, batches, folder, quiet=quiet).run())
        except (RuntimeError, MemoryError) as error:
            explained = explain_failure(error)
            if explained is None:
                raise
            raise explained from error


class _Loop:
    """One run, in one process."""

    # ---- What is trained, with what, on what ----------------------------------------------------------------------

    def __init__(self, fabric: Fabric, start: Start, batches: EpochBatches, folder: Path, *, quiet: bool) -> None:
        self.fabric, self.start, self.batches, self.folder, self.quiet = fabric, start, batches, folder, quiet
        self.training, self.position = start.training, start.position
        cuda = fabric.device.type == "cuda"

        # Weights, and their layout: before their average and optimizer state are laid out like them.
        self.translator = start.translator.to(fabric.device)
        if self.training.channels_last:
            for part in self.translator.parts:
                getattr(self.translator, part).to(memory_format=torch.channels_last)
        self.average = begin_average(start)
        self.updates = Updates(fabric, start)

        # Data.
        workers = default_workers() if self.training.workers is None else self.training.workers
        self.loader = make_loader(start.train_data, batches, workers=workers, pin_memory=cuda)
        epochs_to_come = self.translator.config.epochs - self.position.epoch - 1
        steps = self.position.step + batches.left(self.position.samples_in_epoch) + epochs_to_come * batches.left(0)
        self.last_step = min(steps, self.training.max_steps or steps)

        # Losses. To check each costs nothing on a single CPU process, and stops a bad one before it reaches the weights.
        self.meter = LossMeter(start.train_data.samples, fabric.device, self._gather)
        self.check_each_loss = fabric.world_size == 1 and not cuda
        self.log: RunLog | None = None
        self.saving: Saving | None = None
        self.logged_at = (time.monotonic(), self.position.step)

    # ---- The loop -------------------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Train to the end."""
        if self.fabric.is_global_zero:
            self.saving = Saving(self.folder, self.start, self.updates, self.average)
            self._open_log()
        with self.log or contextlib.nullcontext():
            while not (ended := all_is_trained(self.position, self.translator.config.epochs, self.training)):
                if has_lost_patience(self.position, self.training):
                    break
                self._train_epoch()
                self._end_epoch()
        at, figure = self.position, self.start.selection
        return RunResult(
            run=self.folder,
            steps=at.step,
            epochs=at.epoch,
            best_l1=at.best_value if figure.name == "l1" else None,
            best_step=at.best_step,
            best={} if at.best_value is None else {figure.name: at.best_value},
            stopped_early=None if ended else f"no better val {figure.shown} in {at.epochs_since_best} epochs",
        )

    def _train_epoch(self) -> None:
        """Train on the batches that are left of an epoch."""
        # An epoch that was interrupted goes on behind the samples it has had.
        self.batches.epoch, self.batches.first = self.position.epoch, self.position.samples_in_epoch
        every = self.training.checkpoint_every_steps
        self.translator.train()
        for raws in zip(*[iter(self.loader)] * self.training.accumulate, strict=True):
            self._step(raws)
            used = self.position.samples_in_epoch + self.batches.step_samples
            self.position = replace(self.position, step=self.position.step + 1, samples_in_epoch=used)
            if self.position.step % self.training.log_every_steps == 0:
                self._log_losses()
            if self.position.step == self.last_step or not self.batches.left(used):
                break  # the end of the epoch validates and saves
            if every is not None and self.position.step % every == 0:
                self._log_losses()
                self._save(best=False)
        self._log_losses()

    def _step(self, raws: Sequence[RawBatch]) -> None:
        """Train on the batches of one step."""
        data, step = self.start.train_data, self.position.step
        self.meter.begin_step(step, torch.cat([raw["sample"] for raw in raws]))
        batches = [to_network(data, raw, self.fabric.device, paired=self.translator.task.paired) for raw in raws]
        self.translator.progress = self._progress()
        self.updates.begin_step()
        seed_step(self.training.seed, self.fabric.global_rank, step, self.fabric.device)
        for logged in self.updates.step(batches, self._note_loss):
            for name, value in logged.items():
                self.meter.add(step, name, value)
        if self.average is not None:
            self.average.update(step)

    def _note_loss(self, part: str, loss: Tensor) -> None:
        self.meter.add(self.position.step, f"{part}_loss", loss)
        if self.check_each_loss:
            self.meter.check()

    def _progress(self) -> TrainingProgress:
        """Return where the step to come stands in the whole training, whatever number of processes takes it."""
        passed = self.position.epoch + self.position.samples_in_epoch / len(self.start.train_data)
        share = passed / self.translator.config.epochs
        return TrainingProgress(step=self.position.step, epochs=passed, share=share)

    def _end_epoch(self) -> None:
        """Validate, draw, save; also after an epoch that `max_steps` cut short.

        Saving comes last: a run that goes on from a checkpoint makes up for nothing before it.
        """
        trained = self.position
        with contextlib.nullcontext() if self.average is None else self.average.in_place():
            improved = self._validate()
            self._draw()
        # The checkpoint stands at the beginning of the next epoch, unless this one was cut short.
        if not self.batches.left(trained.samples_in_epoch):
            since_best = 0 if improved else self.position.epochs_since_best + 1
            self.position = replace(
                self.position, epoch=trained.epoch + 1, samples_in_epoch=0, epochs_since_best=since_best
            )
        self._save(best=improved)
        self.logged_at = (time.monotonic(), self.position.step)

    # ---- What the loop does now and then --------------------------------------------------------------------------

    def _open_log(self) -> None:
        epochs, figure = self.translator.config.epochs, self.start.selection
        self.log = RunLog(
            self.folder, position=self.position, total_steps=self.last_step, epochs=epochs, quiet=self.quiet
        )
        by_val = f"by {figure.way} val {figure.shown}"
        best = by_val if self.start.val_data else "the last one, as the dataset has no val split"
        self.log.say(f"{self.folder}: {self.last_step} steps on {self.fabric.device}; best checkpoint {best}")

    def _log_losses(self) -> None:
        """Log the mean losses since the last time; raises if one was no number."""
        losses = self.meter.means()
        before, step = self.logged_at
        if not losses or step == self.position.step:
            return
        self.logged_at = (time.monotonic(), self.position.step)
        samples = (self.position.step - step) * self.batches.step_samples
        if self.log is not None:
            self.log.trained(self.position, losses, samples / (self.logged_at[0] - before))

    def _validate(self) -> bool:
        """Score the val split; return whether it was the best so far, or whether there is none to say otherwise."""
        start, selection = self.start, self.start.selection
        if start.val_data is None:
            return True
        share = {"rank": self.fabric.global_rank, "world_size": self.fabric.world_size}
        found = validate(self.translator, start.val_data, self.fabric.device, **share, add_up=self._add_up)
        if start.val_scores is not None:
            found[selection.name] = start.val_scores.figure(self.translator, self.fabric.device, **share)
        if self.log is not None:
            self.log.validated(self.position, found)
        value = found[selection.name]
        improved = selection.is_better(value, than=self.position.best_value)
        if improved:
            self.position = replace(self.position, best_value=value, best_step=self.position.step, epochs_since_best=0)
        return improved

    def _draw(self) -> None:
        if self.log is None or not self.training.pictures:
            return
        data = self.start.val_data or self.start.train_data
        for name, png in draw(self.translator, data, self.fabric.device, self.training.pictures):
            self.log.picture(name, self.position, png)

    def _save(self, *, best: bool) -> None:
        remembered = {key: self._gather(value) for key, value in self.translator.training_state.items()}
        if self.saving is not None:
            self.saving.save(self.position, remembered, best=best)

    # ---- Between processes ----------------------------------------------------------------------------------------

    def _gather(self, values: Tensor) -> Tensor:
        """Return (process, ...) from each process's (...), which is of one shape: each adds its own to zeros."""
        table = values.new_zeros((self.fabric.world_size, *values.shape))
        table[self.fabric.global_rank] = values
        return self._add_up(table)

    def _add_up(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        return cast(Tensor, self.fabric.all_reduce(values, reduce_op="sum"))
