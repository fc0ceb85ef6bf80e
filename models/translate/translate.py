"""Apply a trained network to whole scenes of any size."""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import numpy as np
import rasterio
import rasterio.shutil
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import RunError
from s1s2pairs.files import scratch_folder
from s1s2pairs.progress import Progress, Silence, stage

from ..data.samples import conditions
from ..hardware import memory_advice
from ..missing import BLANK, present
from ..runs.loading import load_translator
from ..runs.record import trained_pixel_sizes
from ..scaling import Scaling
from ..task import Batch
from ..translator import Translator
from .blend import blend_rows
from .checks import check_grid, check_values
from .disk import check_end, disk_advice
from .inputs import Inputs, InputWindow, input_paths
from .taken import acquisitions, check_known

logger = logging.getLogger(__name__)

DEFAULT_WINDOW: Final = 256
DEFAULT_BATCH_SIZE: Final = 4


def translate(
    run: Path | str,
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    which: Literal["best", "last"] = "best",
    device: str = "auto",
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    any_pixel_size: bool = False,
    dates: Sequence[str] | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] = logger.warning,
) -> str | Path:
    """Predict the target of a run's task for a whole scene.

    Args:
        run: Folder of a run or of a checkpoint.
        inputs: Files or raster folders, paths or fsspec URLs, see `inputs.input_paths`. All on one grid, of any size.
        out: GeoTIFF to write, a path or fsspec URL: cloud-optimised, float32, dB or reflectance, NaN where any input is
            missing.
        which: Which of the run's checkpoints.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        window: Side in pixels of the squares predicted at once; none means 256, or what the network needs.
        overlap: Least pixels that neighbouring squares share; none means half a window.
        batch_size: Squares predicted at once. Memory grows with it, not with the scene's height.
        any_pixel_size: Take inputs of another pixel size than the network was trained on.
        dates: Acquisition time of the target's sensor at T1, T2, ..., ISO 8601, UTC; none means those of the dataset in which
            the inputs lie, if they do.
        progress: Told how far it is.
        note: Told what could not be checked, and how many pixels have no result.

    Returns:
        `out`.

    Raises:
        RunError: The run or an input is missing or broken, inputs do not fit the task, each other or the pixel size of the
            training, hold what no sensor can have measured, a window does not fit the network, or memory ran out.
        DatasetError: A URL's storage cannot be used.
    """
    loaded = load_translator(run, which, device)
    task = loaded.translator.task
    paths = input_paths(task, inputs)
    taken = acquisitions(task, paths, dates)
    check_known(loaded.translator.conditions, conditions(taken[None]), f"network {loaded.checkpoint.network}")
    with Inputs(task, paths) as scene:
        check_grid(scene, trained_pixel_sizes(Path(run)), any_pixel_size=any_pixel_size, note=note)
        return translate_scene(
            loaded.translator,
            loaded.scaling,
            scene,
            out,
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            taken=taken,
            progress=progress,
            note=note,
        )


def translate_scene(
    translator: Translator,
    scaling: Scaling,
    scene: Inputs,
    out: str | Path,
    *,
    window: int | None = None,
    overlap: int | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    taken: Tensor | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] = logger.warning,
) -> str | Path:
    """Predict an open scene with a loaded network.

    The arguments are those of `translate`, and `taken`: when and how the images were taken, see `taken.acquisitions`.
    """
    size, shared = tiling(translator, window, overlap)
    predictor = _Predictor(translator, scaling, scene, size, batch_size)
    if taken is not None:
        predictor.taken = taken
    missing = _write(predictor, out, overlap=shared, progress=progress or Silence())
    if missing:
        total = math.prod(scene.shape)
        note(
            f"{out}: {missing} of {total} pixels ({missing / total:.2%}) have no result, as an input is missing there."
        )
    return out


def tiling(translator: Translator, window: int | None, overlap: int | None) -> tuple[int, int]:
    """Return window and overlap in pixels, checked against what the network takes.

    Raises:
        RunError: They do not fit.
    """
    multiple = translator.config.patch_multiple
    size = math.ceil(DEFAULT_WINDOW / multiple) * multiple if window is None else window
    if size <= 0 or size % multiple:
        raise RunError(
            f"window={size} px does not fit this network: give a multiple of {multiple} px, such as {2 * multiple}"
        )
    shared = size // 2 if overlap is None else overlap
    if not 0 <= shared < size:
        raise RunError(
            f"overlap={shared} px does not fit windows of {size} px: give 0 to {size - 1}; half a window is usual"
        )
    return size, shared


class _Predictor:
    """Predicts windows of a scene in batches."""

    def __init__(self, translator: Translator, scaling: Scaling, scene: Inputs, size: int, batch_size: int) -> None:
        if batch_size < 1:
            raise RunError(f"batch_size={batch_size} does not fit: the least is 1")
        self.translator = translator.eval()
        self.scaling = scaling
        self.scene = scene
        self.size = size
        self.batch_size = batch_size
        parameter = next(translator.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.taken = torch.full((scene.task.n_dates, 4), torch.nan)
        """(date, 4), see `samples.acquisition_table`; NaN where not known."""

    def row(self, row: int, columns: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Predict windows of one row: (column, (band, y, x) float32 on [-1, 1], NaN where an input is missing).

        A window without any valid pixel is left out.
        """
        for start in range(0, len(columns), self.batch_size):
            windows = [self.scene.read(row, column, self.size) for column in columns[start : start + self.batch_size]]
            used = [window for window in windows if window.valid.any()]
            if used:
                predictions = self._predict(self._batch(used))
                for window, prediction in zip(used, predictions, strict=True):
                    # All windows over a pixel agree on whether it is valid, so that NaN stays on invalid pixels when blended.
                    yield window.column, np.where(window.valid, prediction, np.float32(np.nan))

    @torch.inference_mode()
    def _predict(self, batch: Batch) -> NDArray[np.float32]:
        with memory_advice(f"{len(batch['sample'])} windows of {self.size} px"):
            prediction = self.translator(batch).mean.float()
        if not bool(torch.isfinite(prediction).all()):
            raise RunError(
                "the network predicted values that are not finite; its training may have failed; see its metrics.csv"
            )
        values: NDArray[np.float32] = prediction.cpu().numpy()
        return values

    def _batch(self, windows: Sequence[InputWindow]) -> Batch:
        """Put windows into a batch as the loader makes them."""
        valid = np.stack([window.valid for window in windows])
        batch: Batch = {"valid": torch.from_numpy(valid[:, None]).to(self.device)}
        for stack in self.scene.task.inputs:
            values = torch.from_numpy(np.stack([window.stacks[stack.key] for window in windows])).to(self.device)
            batch[stack.key] = self.scaling.scale(values, stack).masked_fill(~present(values), BLANK)
        batch.update(conditions(self.taken.expand(len(windows), -1, -1).to(self.device)))
        batch["sample"] = torch.arange(len(windows), device=self.device)
        return batch


@contextlib.contextmanager
def _whole(out: str | Path) -> Iterator[Path]:
    """Lend an empty folder; the `finished.tif` that is in it at the end becomes `out`."""
    if Storage(str(out)).is_local:
        file = Storage(str(out)).local_root
        with scratch_folder(file) as scratch:
            yield scratch
            (scratch / "finished.tif").replace(file)
        return
    storage, name = Storage.of_file(str(out))
    storage.prepare()  # a storage that takes nothing shall say so before hours of work
    with TemporaryDirectory() as folder:
        yield Path(folder)
        storage.write(name, (Path(folder) / "finished.tif").read_bytes())


def _write(predictor: _Predictor, out: str | Path, *, overlap: int, progress: Progress) -> int:
    """Check, predict, blend and write; `out` appears when it is whole. Returns how many of its pixels have no value."""
    with disk_advice(out), _whole(out) as folder:
        check_values(predictor.scene, progress)
        rows_file = folder / "rows.tif"
        missing = _write_rows(predictor, rows_file, overlap=overlap, progress=progress)
        # A COG has its overviews first, so it can only be written once all rows are there.
        rasterio.shutil.copy(
            rows_file,
            folder / "finished.tif",
            driver="COG",
            compress="DEFLATE",
            predictor="YES",
            overview_resampling="AVERAGE",
            bigtiff="IF_SAFER",
        )
        check_end(folder / "finished.tif")
    return missing


def _write_rows(predictor: _Predictor, rows_file: Path, *, overlap: int, progress: Progress) -> int:
    """Predict, blend and write row by row; returns how many pixels have no value."""
    scene, target, size = predictor.scene, predictor.scene.task.target, predictor.size
    height, width = scene.shape
    blended = blend_rows(
        predictor.row,
        bands=len(target.bands),
        height=max(height, size),
        width=max(width, size),
        size=size,
        overlap=overlap,
    )
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": len(target.bands),
        "height": height,
        "width": width,
        "crs": scene.crs,
        "transform": scene.transform,
        "nodata": np.nan,
        "bigtiff": "IF_SAFER",
    }
    missing = 0
    with rasterio.open(rows_file, "w", **profile) as raster, stage(progress, "translating rows", height):
        raster.descriptions = target.bands
        raster.units = (target.unit,) * len(target.bands)
        for row, values in blended:
            rows = min(values.shape[1], height - row)  # what was mirrored below a small scene is dropped
            physical = predictor.scaling.unscale(torch.from_numpy(values[:, :rows, :width]), target)
            missing += int(torch.isnan(physical).any(dim=0).sum())
            raster.write(physical.float().numpy(), window=Window(0, row, width, rows))
            progress.step(steps=rows)
    return missing
