"""The `s1s2` command: parse, call, print. No logic."""

import dataclasses
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from s1s2pairs.errors import NoAcquisitions, S1S2Error, SourceError
from s1s2pairs.stopping import stoppable
from s1s2pairs.terminal import EXTRA_OF, complain, key_values, log_to_stderr, say, say_json, spread

SOME_FAILED, WRONG_INPUT, NO_SOURCE = 1, 2, 3
EXIT_CODES: tuple[tuple[type[S1S2Error], int], ...] = (
    (NoAcquisitions, SOME_FAILED),
    (SourceError, NO_SOURCE),
    (S1S2Error, WRONG_INPUT),
)
"""The one table from error to exit code: the first class that fits decides. 0 is all done."""
DEFAULT_YEARS = (2019, 2021)
"""Years simulated where neither the recipe nor the user names any."""

app = typer.Typer(
    name="s1s2",
    help="Paired Sentinel-1 / Sentinel-2 datasets, and networks that translate between radar and optical images.",
    epilog="Any command takes --debug: show what is done, and the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[Path, typer.Argument(help="Recipe (GeoJSON), or a recipe.lock.geojson.", show_default=False)]
Years = Annotated[
    list[int] | None, typer.Option("--years", help="One or more years: --years 2019 2021.", show_default=False)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DatasetUrl = Annotated[str, typer.Argument(help="Folder or fsspec URL of a built dataset.", show_default=False)]
Data = Annotated[
    str | None,
    typer.Option("--data", help="Dataset (folder or fsspec URL); else the only one under data/.", show_default=False),
]
Project = Annotated[str | None, typer.Option(help="Google Cloud project, for Earth Engine.", show_default=False)]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        help="Host, s3://bucket or folder from which a STAC catalogue's files may be read too. Repeatable.",
        show_default=False,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        help="earthengine, stac:URL, or the path of a STAC catalogue on disk; else earthengine, or what a lock names.",
        show_default=False,
    ),
]
RadarSource = Annotated[
    str | None, typer.Option(help="Another source for the radar images; else --source has both.", show_default=False)
]
Which = Annotated[Literal["best", "last"], typer.Option(help="Checkpoint of the run.")]
Device = Annotated[str, typer.Option(help="auto (CUDA where there is one, else the CPU), cuda or cpu.")]


def _bar(*, quiet: bool) -> Any:
    from rich.console import Console

    from s1s2pairs.progress import make_progress

    return make_progress(Console(stderr=True), quiet=quiet)


@app.command()
def build(
    recipe: Recipe,
    years: Years = None,
    source: Source = None,
    radar_source: RadarSource = None,
    out: Annotated[
        str | None, typer.Option(help="Folder or URL of the dataset; else data/<recipe name>.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images made at once; else 4, or for Earth Engine a few more than --requests.",
            show_default=False,
        ),
    ] = None,
    dask: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler whose workers do the work.", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Choose, print what would be fetched, fetch no pixels.")] = False,
    project: Project = None,
    requests: Annotated[int, typer.Option(min=1, max=40, help="Earth Engine requests in flight at once.")] = 24,
    allow_host: AllowHost = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Build a dataset from a recipe."""
    from s1s2pairs.build import text as build_text
    from s1s2pairs.build.request import BuildRequest
    from s1s2pairs.report import text as summary

    request = BuildRequest.of(
        recipe,
        years=years or (),
        source=source,
        radar_source=radar_source,
        out=out,
        workers=workers,
        dask=dask,
        project=project,
        requests=requests,
        allow_hosts=allow_host or (),
    )
    bar = _bar(quiet=quiet or as_json)
    for warning in request.warnings():
        complain(f"warning: {warning}")
    if plan:
        made = request.plan(bar)
        if as_json:
            say_json(summary.plan_json(made))
        else:
            say("\n".join(summary.plan_lines(made)), quiet=quiet)
        failed = {roi.roi.name: roi.failure for roi in made.rois if roi.choices is None}
    else:
        report = request.build(bar)
        if as_json:
            say_json(build_text.build_json(report))
        else:
            say("\n".join(build_text.build_lines(report)), quiet=quiet)
        failed = {outcome.roi: outcome.failure for outcome in report.failed}
    for name, reason in failed.items():
        complain(f"{name} failed: {reason}")
    raise typer.Exit(SOME_FAILED if failed else 0)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder of the archive to write.", show_default=False)],
    recipe: Annotated[Path, typer.Option(help="Places and periods to simulate.")] = Path("rois/small.geojson"),
    years: Years = None,
    seed: Annotated[int, typer.Option(help="Names the world: another seed is another world.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    quiet: Quiet = False,
) -> None:
    """Write a STAC archive of a simulated world, to build from without account or network."""
    from s1s2pairs.plan import lock
    from s1s2pairs.recipe.settings import Recipe as ParsedRecipe
    from s1s2pairs.simulate.world import simulate as write_world

    wanted = lock.load(recipe, years=years or (), default_years=DEFAULT_YEARS)
    if not isinstance(wanted, ParsedRecipe):
        raise S1S2Error(f"{recipe}: a locked recipe cannot be simulated; give the recipe it was made from")
    catalogue = write_world(wanted, folder, seed=seed, workers=workers, progress=_bar(quiet=quiet))
    say(f"{catalogue}: build from it with --source {folder}", quiet=quiet)


@app.command()
def check(
    source: Annotated[
        str | None,
        typer.Option(
            help="earthengine, stac:URL, or the path of a STAC catalogue on disk; else earthengine.", show_default=False
        ),
    ] = None,
    project: Project = None,
    save: Annotated[
        Path | None,
        typer.Option(help="File for a recording of Earth Engine's replies, nothing secret in it.", show_default=False),
    ] = None,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
) -> None:
    """Ask a source, with a few small requests, whether everything a build relies on holds there."""
    from s1s2pairs.check import text
    from s1s2pairs.check.check import check as try_source

    found = try_source(source, project=project, save=save, allow_hosts=allow_host or ())
    if as_json:
        say_json(text.check_json(found))
    else:
        say("\n".join(text.check_lines(found)))
    raise typer.Exit(0 if found.ok else NO_SOURCE)


@app.command()
def verify(
    dataset: DatasetUrl,
    repair: Annotated[bool, typer.Option("--repair", help="Make again exactly what is broken.")] = False,
    source: Source = None,
    radar_source: RadarSource = None,
    project: Project = None,
    allow_host: AllowHost = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a dataset, and repair it where asked to."""
    from s1s2pairs.build import text as build_text
    from s1s2pairs.build.repair import Means, check
    from s1s2pairs.report import text as summary

    means = Means(source=source, radar_source=radar_source, project=project, allow_hosts=tuple(allow_host or ()))
    done = check(dataset, means, repair=repair, progress=_bar(quiet=quiet or as_json))
    if as_json:
        say_json({**summary.verify_json(done.after), **build_text.repair_json(done)})
    else:
        say("\n".join([*build_text.repair_lines(done), *summary.verify_lines(done.after)]), quiet=quiet and done.ok)
    raise typer.Exit(0 if done.ok else SOME_FAILED)


@app.command()
def report(dataset: DatasetUrl, quiet: Quiet = False) -> None:
    """Write one HTML page about a dataset: what was chosen and why, pictures, histograms."""
    from s1s2pairs.report.page import report as write_report

    say(write_report(dataset), quiet=quiet)


@app.command("map")
def draw_map(
    path: Annotated[
        str, typer.Argument(help="Recipe, lock file or dataset (folder or fsspec URL).", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.", show_default=False)],
    earthengine: Annotated[
        bool, typer.Option("--earthengine", help="Add the composites, drawn by Earth Engine when the map is viewed.")
    ] = False,
    project: Project = None,
    quiet: Quiet = False,
) -> None:
    """Write an interactive HTML map of ROIs and chosen footprints."""
    from s1s2pairs.report.web_map import make_map

    say(str(make_map(path, out, source_layers=earthengine, project=project)), quiet=quiet)


@app.command()
def networks(
    names: Annotated[list[str] | None, typer.Argument(help="Only these, with --cost.", show_default=False)] = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="Measure work, memory and speed on this device, one patch at a time.")
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List the networks, or measure what they cost."""
    from models import zoo

    if cost:
        from models import cost as costs

        measured = costs.measure_all(names, device, progress=_bar(quiet=quiet or as_json))
        if as_json:
            say_json([dataclasses.asdict(one) for one in measured])
        else:
            say("\n".join(costs.listing(measured)))
        return
    rows = zoo.describe()
    if as_json:
        say_json([dataclasses.asdict(row) for row in rows])
    else:
        say("\n".join(zoo.listing(rows)))


@app.command()
def train(
    network: Annotated[str, typer.Argument(help="Network or alias; `s1s2 networks` lists them.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Dataset (folder or fsspec URL), repeatable; else the only one under data/.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; else runs/<network>-<n>.", show_default=False)
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Settings: --set epochs=5 width=16. docs/training.md lists them.", show_default=False
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Run, or checkpoint of one, to go on from.", show_default=False)
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Run, or checkpoint of one, whose weights a new run starts from.", show_default=False),
    ] = None,
    device: Device = "auto",
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine, one per GPU.", show_default=False)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="32-true, bf16-mixed or 16-mixed; else the run's, or bf16 on CUDA.", show_default=False),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a network on one dataset, or on several."""
    from models import network_names, processes

    with processes.one_voice():
        network_names.check_name(network)  # before PyTorch is loaded, which takes seconds
        settings = key_values(given or ())
        from models.runs.record import default_dataset
        from models.train.loop import train as run_training

        result = run_training(
            network,
            data or (default_dataset() if resume is None else None),
            settings=settings,
            out=out,
            resume=resume,
            init=init,
            device=device,
            devices=devices,
            precision=precision,
            quiet=quiet,
        )
    say(str(result), quiet=quiet or not processes.is_first_process())
    processes.leave()


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(help="One or more runs.", show_default=False)],
    data: Data = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the comparison; else the run's own, or for several runs evaluation/.", show_default=False
        ),
    ] = None,
    which: Which = "best",
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure runs, and the baselines that need no training, on one split."""
    from models.evaluate.evaluate import evaluate as measure
    from models.evaluate.page import HTML_NAME, JSON_NAME, MARKDOWN_NAME, write_results
    from models.runs.record import default_dataset

    bar = _bar(quiet=quiet or as_json)
    evaluation = measure(runs, data or default_dataset(), split=split, which=which, device=device, progress=bar)
    folder = write_results(evaluation, out)
    if as_json:
        say((folder / JSON_NAME).read_text(encoding="utf-8"))
    else:
        say((folder / MARKDOWN_NAME).read_text(encoding="utf-8") + f"\n{folder / HTML_NAME}", quiet=quiet)


@app.command()
def translate(
    run: Annotated[Path, typer.Argument(help="A run.", show_default=False)],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="GeoTIFFs (paths or fsspec URLs), one per input of the network, or a rasters/<roi> folder of a dataset.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option(help="GeoTIFF to write: path or fsspec URL.", show_default=False)],
    window: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels of the squares predicted at once; else 256 or so, as the network needs.",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Least pixels neighbouring squares share; else half a window.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Squares predicted at once: memory grows with it.")] = 4,
    any_pixel_size: Annotated[
        bool, typer.Option("--any-pixel-size", help="Take pixels of another size than the network was trained on.")
    ] = False,
    dates: Annotated[
        str | None,
        typer.Option(
            help="When the target's sensor saw T1, T2, ...: 2019-06-12,2021-06-15. Rasters of a dataset tell by themselves.",
            show_default=False,
        ),
    ] = None,
    which: Which = "best",
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Predict whole scenes with a trained network."""
    from models.translate.translate import translate as predict

    bar = _bar(quiet=quiet)
    written = predict(
        run, inputs, out, which=which, window=window, overlap=overlap, batch_size=batch_size, device=device,
        any_pixel_size=any_pixel_size, dates=dates.split(",") if dates else None, progress=bar,
        note=lambda text: complain(text, quiet=quiet),
    )  # fmt: skip
    say(str(written), quiet=quiet)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run.", show_default=False)],
    onnx: Annotated[Path, typer.Option(help="ONNX file to write.", show_default=False)],
    which: Which = "best",
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of the patches it takes, pixels; else 256 or so, as the network needs.", show_default=False
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a trained network as an ONNX file, for programs that know nothing of this one."""
    from models.export.onnx_file import export_onnx

    say(str(export_onnx(run, onnx, which=which, size=size)), quiet=quiet)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some ROIs failed, 2 wrong input, 3 the source cannot be used, 130 stopped."""
    words = spread(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    log_to_stderr(logging.INFO if debug else logging.WARNING)
    # rasterio silences this itself while it creates a file, but threads share the list of filters and it leaks.
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    try:
        with stoppable(words):
            app(args=[word for word in words if word != "--debug"], prog_name="s1s2")
    except S1S2Error as error:
        if debug:
            raise
        complain(str(error))
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if debug or package not in EXTRA_OF:
            raise
        complain(f"this needs {package}, which is not installed: pip install 's1s2pairs[{EXTRA_OF[package]}]'")
        sys.exit(WRONG_INPUT)
