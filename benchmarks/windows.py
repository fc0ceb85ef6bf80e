"""How far the result of `s1s2 translate` depends on the size of its windows and on how much they overlap.

    python benchmarks/windows.py RUN RASTERS [--windows 128 256 512] [--overlaps 0 0.25 0.5 0.75] [--device cpu]

RASTERS is a folder `rasters/<roi>` of a dataset. Its rasters are cut to the largest square that one window can hold without
mirroring. The scene is translated as one window, then with every other window and overlap (as a share of the window), and the
absolute differences from the first are printed as rows of a Markdown table: mean and largest, in the target's unit.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from models.runs.loading import load_translator
from models.translate.translate import translate


def cut(source: Path, target: Path, side: int) -> None:
    """Write the first `side` rows and columns of every raster of a ROI."""
    for path in source.glob("*/s[12].tif"):
        with rasterio.open(path) as raster:
            profile = {**raster.profile, "width": side, "height": side}
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(copy, "w", **profile) as small:
                small.write(raster.read(window=Window(0, 0, side, side)))
                small.descriptions, small.units, small.scales = raster.descriptions, raster.units, raster.scales


def main() -> None:
    """Translate and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("rasters", type=Path)
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0, 0.25, 0.5, 0.75])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    multiple = load_translator(options.run, device="cpu").translator.config.patch_multiple
    with rasterio.open(next(options.rasters.glob("*/s1.tif"))) as raster:
        side = min(raster.shape) // multiple * multiple

    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / options.rasters.name, Path(folder) / "out.tif"
        cut(options.rasters, scene, side)

        def predicted(window: int, overlap: int) -> NDArray[np.float32]:
            translate(
                options.run,
                [scene],
                out,
                window=window,
                overlap=overlap,
                batch_size=1,
                device=options.device,
                note=print,
            )
            with rasterio.open(out) as raster:
                values: NDArray[np.float32] = raster.read()
            return values

        whole = predicted(side, 0)
        print(f"whole: {side} x {side} px, standard deviation {np.nanstd(whole):.2f}")
        print("| window [px] | overlap [px] | mean | largest |\n|---|---|---|---|")
        for window in options.windows:
            for share in options.overlaps:
                difference = np.abs(predicted(window, round(share * window)) - whole)
                mean, most = np.nanmean(difference), np.nanmax(difference)
                print(f"| {window} | {round(share * window)} | {mean:.2f} | {most:.1f} |", flush=True)


if __name__ == "__main__":
    main()
