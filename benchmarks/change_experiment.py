"""Does TSGAN beat copying the reference where the ground changed? Run by hand; docs/experiment.md holds a run's table.

Simulates 32 places, builds a dataset, trains narrow networks on it for each seed, evaluates them together with the
baselines and prints a Markdown table. What is there already (archive, dataset, finished runs) is taken over, so an
interrupted experiment goes on.

    python benchmarks/change_experiment.py --folder data/experiment --seeds 0 1 2

Once the dataset is there, several processes may share the training: give each other `--seeds` or `--variants`.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from models.evaluate.evaluate import evaluate
from models.train.loop import train
from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.plan.lock import load
from s1s2pairs.recipe.settings import Recipe
from s1s2pairs.simulate.world import Options, simulate

SIDE_KM = 5.0
COLUMNS, ROWS = 8, 4
SPLITS = {3: "test", 6: "val"}
"""Column of the grid of places -> its split; the other columns are for training."""
VARIANTS = {
    "gamma5": {"gamma": "5"},
    "gamma0.02": {"gamma": "0.02"},
    "gamma0.005": {"gamma": "0.005"},
    "plain": {"change_maps": "false", "change_weighted_loss": "false"},
}
"""What differs between the networks compared: change map and change-weighted L1, as in the paper and with ever less weight on
changed ground; no change map and plain L1."""
SETTINGS = {
    "width": "16",
    "epochs": "7",
    "decay_epochs": "6",
    "batch_size": "4",
    "learning_rate": "4e-3",
    "s2_range": "0,0.5",
    "workers": "0",
    "pictures": "0",
}
"""What they share. No options: a folder's runs must be comparable."""
METRICS = ("psnr", "ssim", "mae_db")
GROUNDS = ("all", "changed", "unchanged")


def recipe(path: Path) -> Recipe:
    """Write the recipe of the experiment and read it."""
    features = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            lon, lat = -4.0 + 3.7 * column, 40.3 + 3.4 * row  # farmland of southern and central Europe
            dy = SIDE_KM / 2 / 111.2
            dx = dy / math.cos(math.radians(lat))
            ring = [
                [lon - dx, lat - dy],
                [lon + dx, lat - dy],
                [lon + dx, lat + dy],
                [lon - dx, lat + dy],
                [lon - dx, lat - dy],
            ]
            features.append(
                {
                    "type": "Feature",
                    "properties": {"name": f"place{column}{row}", "split": SPLITS.get(column, "train")},
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                }
            )
    settings = {"patch": {"size": 128}, "max_cloud_fraction": 0.05}
    collection = {"type": "FeatureCollection", "name": "experiment", "s1s2": settings, "features": features}
    path.write_text(json.dumps(collection), encoding="utf-8")
    parsed = load(path, years=(2019, 2021))
    assert isinstance(parsed, Recipe)
    return parsed


def dataset(folder: Path) -> Path:
    """Simulate and build, or take over what is there."""
    if (folder / "dataset" / "dataset.json").exists():
        return folder / "dataset"
    places = recipe(folder / "experiment.geojson")
    options = Options(orbits_per_pass=1, optical_margin_months=0, sar_margin_days=35)
    simulate(places, folder / "world", options=options)
    report = build(places, opener=SourceOpener(name=str(folder / "world")), out=str(folder / "dataset"))
    for outcome in report.failed:
        print(f"left out: {outcome.roi}: {outcome.failure}")
    return folder / "dataset"


def trained(folder: Path, data: Path, *, variant: str, seed: int) -> Path:
    """Train one network, or go on with it, or take it over."""
    run = folder / f"{variant}-{seed}"
    if not (run / "done").exists():
        settings = {**SETTINGS, **VARIANTS[variant], "seed": str(seed)}
        resume = run if (run / "checkpoints" / "last").exists() else None
        train("tsgan", data, settings={} if resume else settings, out=None if resume else run, resume=resume)
        (run / "done").touch()
    return run


def main() -> None:
    """Run the experiment and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("data/experiment"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    data = dataset(given.folder)
    runs = {
        variant: [trained(given.folder, data, variant=variant, seed=seed) for seed in given.seeds]
        for variant in given.variants
    }
    rows = evaluate([run for group in runs.values() for run in group], data, split="test", which="last").rows

    def value(names: list[str], metric: str, ground: str) -> str:
        found = [
            row.value
            for row in rows
            if row.run in names
            and row.metric == metric
            and row.ground == ground
            and row.direction == "both"
            and row.roi is None
            and row.band is None
            and row.value is not None
        ]
        spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
        return f"{statistics.mean(found):.2f}{spread}"

    print("| | " + " | ".join(f"{metric} {ground}" for metric in METRICS for ground in GROUNDS) + " |")
    print("|---" * (1 + len(METRICS) * len(GROUNDS)) + "|")
    for label, names in {
        "copy_t1": ["copy_t1"],
        **{v: [run.name for run in group] for v, group in runs.items()},
    }.items():
        print(f"| {label} | " + " | ".join(value(names, m, g) for m in METRICS for g in GROUNDS) + " |")


if __name__ == "__main__":
    main()
