"""Does TSGAN beat copying the reference where the ground changed? Run by hand; docs/experiment.md holds a run's table.

Simulates ten places, builds a dataset, trains narrow networks on it for each seed, evaluates them together with the
baselines and prints a Markdown table. What is there already (archive, dataset, finished runs) is taken over, so an
interrupted experiment goes on.

    python benchmarks/change_experiment.py --folder data/experiment --seeds 0 1 2
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from models.evaluate import evaluate
from models.train import train
from s1s2pairs.build import build
from s1s2pairs.recipe import Recipe
from s1s2pairs.simulate.world import Options, simulate
from s1s2pairs.subject import load
from s1s2pairs.tasks import SourceOpener

SIDE_KM = 5.0
PLACES = {
    "train": (
        (-1.64, 48.085),
        (0.64, 41.60),
        (5.05, 47.32),
        (11.88, 45.41),
        (16.37, 48.60),
        (-4.50, 40.00),
        (20.10, 46.25),
    ),
    "val": ((3.12, 50.835),),
    "test": ((-0.385, 39.44), (9.19, 45.20)),
}
VARIANTS = {
    "TSGAN V2, CWL1, change map": {},
    "TSGAN V2, plain L1, no change map": {"change_weighted_loss": "false", "change_maps": "false"},
}
METRICS = ("psnr", "ssim", "mae_db")
GROUNDS = ("all", "changed", "unchanged")


def recipe(path: Path) -> Recipe:
    """Write the recipe of the experiment and read it."""
    features = []
    for split, places in PLACES.items():
        for number, (lon, lat) in enumerate(places):
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
                    "properties": {"name": f"{split}{number}", "split": split},
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
    places = recipe(folder / "experiment.geojson")
    options = Options(orbits_per_pass=1, optical_margin_months=0, sar_margin_days=35)
    simulate(places, folder / "world", options=options)
    report = build(places, opener=SourceOpener(name=str(folder / "world")), out=str(folder / "dataset"))
    for outcome in report.failed:
        print(f"left out: {outcome.roi}: {outcome.failure}")
    return folder / "dataset"


def main() -> None:
    """Run the experiment and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("data/experiment"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    data = dataset(given.folder)
    runs: dict[str, list[Path]] = {}
    for seed in given.seeds:
        for number, (variant, switches) in enumerate(VARIANTS.items()):
            run = given.folder / f"run{number}-{seed}"
            runs.setdefault(variant, []).append(run)
            common = {
                "width": given.width,
                "epochs": given.epochs,
                "learning_rate": given.learning_rate,
                "seed": seed,
                "workers": 0,
            }
            if not (run / "done").exists():
                settings = {**{key: str(value) for key, value in common.items()}, **switches}
                resume = run if (run / "checkpoints" / "last").exists() else None
                train("tsgan", data, settings={} if resume else settings, out=None if resume else run, resume=resume)
                (run / "done").touch()
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
