"""Write an evaluation as JSON, Markdown and one HTML page that needs no other file."""

import json
import math
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from s1s2pairs.files import write_whole
from s1s2pairs.report.inline import LOSSLESS_PX, data_uri, style_sheet

from ..metrics.change import MIN_PIXELS, THRESHOLD
from ..metrics.names import METRICS
from ..metrics.pixels import PSNR_CEILING_DB
from ..runs.checkpoint import JSON_NAME as CHECKPOINT_JSON
from ..scaling import Scaling
from .comparisons import SIGNIFICANT_P, Comparison, PairTable, Verdict, comparisons, pair_tables
from .results import Evaluation
from .rows import patch_lines
from .tables import Cell, RankedNetwork, Ranking, Table, best_cells, rankings, tables
from .uncertainty import DRAWS

JSON_NAME: Final = "evaluation.json"
MARKDOWN_NAME: Final = "evaluation.md"
HTML_NAME: Final = "evaluation.html"
PATCHES_NAME: Final = "patches.csv"
COMPARISON_FOLDER: Final = Path("evaluation")
TEMPLATE: Final = "evaluation.html.j2"
JPEG_QUALITY: Final = 78
AT_CEILING: Final = "†"


def write_evaluation(evaluation: Evaluation, folder: Path) -> tuple[Path, Path, Path, Path]:
    """Write `evaluation.json`, `.md` and `.html`, and `patches.csv`; each appears only when whole.

    Args:
        evaluation: What to write.
        folder: Made if missing; earlier files of these names are replaced.

    Returns:
        The four paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PATCHES_NAME, patch_lines(evaluation))
    contents = {JSON_NAME: to_json(evaluation), MARKDOWN_NAME: to_markdown(evaluation), HTML_NAME: to_html(evaluation)}
    for name, text in contents.items():
        write_whole(folder / name, text.encode())
    return folder / JSON_NAME, folder / MARKDOWN_NAME, folder / HTML_NAME, folder / PATCHES_NAME


def write_results(evaluation: Evaluation, out: Path | None = None) -> Path:
    """Write every run's part into its own folder, and with several runs the comparison of all.

    Args:
        evaluation: What to write.
        out: Folder of the comparison; none takes `evaluation/`. A single run has no comparison, unless `out` asks for one.

    Returns:
        The folder with everything: the comparison's, or the single run's.
    """
    folders = {entry.run: _run_folder(Path(entry.path)) for entry in evaluation.entries if entry.path is not None}
    for run, folder in folders.items():
        write_evaluation(evaluation.of_run(run), folder)
    if out is None and len(folders) == 1:
        return next(iter(folders.values()))
    comparison = COMPARISON_FOLDER if out is None else out
    write_evaluation(evaluation, comparison)
    return comparison


def to_json(evaluation: Evaluation) -> str:
    """Return the tidy rows, with what was scored beside them."""
    document = {
        "dataset": evaluation.dataset,
        "split": evaluation.split,
        "entries": [asdict(entry) for entry in evaluation.entries],
        "ranking": [ranking_rows(ranking) for ranking in rankings(evaluation)],
        "comparisons": [asdict(comparison) for comparison in comparisons(evaluation)],
        "rows": [asdict(row) for row in evaluation.rows],
    }
    return json.dumps(document, indent=1, allow_nan=False)


def ranking_rows(ranking: Ranking) -> dict[str, object]:
    """Return a ranking as JSON values."""
    names = [f"{metric} {ground}" for metric, ground in ranking.criteria]
    networks = [
        {
            **network._asdict(),
            "ranks": dict(zip(names, network.ranks, strict=True)),
            "against_next": dict(zip(names, network.against_next, strict=False)),
        }
        for network in ranking.networks
    ]
    return {"target": ranking.target, "criteria": names, "places": networks}


def to_markdown(evaluation: Evaluation) -> str:
    """Return rankings and tables as Markdown; the best value of a column is bold."""
    lines = [
        f"# Evaluation on {dataset_name(evaluation)}, split {evaluation.split}",
        "",
        *(f"- {note}" for note in (*problems(evaluation), *notes())),
        "",
    ]
    for ranking in rankings(evaluation):
        lines += [f"## Ranking: {ranking.target}", "", *_markdown_ranking(ranking), ""]
    for pairs in pair_tables(comparisons(evaluation)):
        lines += [f"## {pair_title(pairs)}", "", *_markdown_pairs(pairs), ""]
    for table in tables(evaluation):
        lines += [f"## {table_title(table)}", "", *_markdown_table(table), ""]
    return "\n".join(lines)


def to_html(evaluation: Evaluation) -> str:
    """Return one page with rankings, tables and pictures, everything inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = format_cell
    environment.filters["interval"] = format_interval
    environment.filters["difference"] = format_difference
    environment.filters["pair_title"] = pair_title
    environment.globals["against_next"] = against_next
    environment.filters["data_uri"] = image_uri
    environment.filters["title"] = table_title
    environment.globals["metrics"] = METRICS
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    found = tables(evaluation)
    used = {metric for table in found for metric in table.metrics}
    return template.render(
        style=style_sheet(),
        evaluation=evaluation,
        dataset=dataset_name(evaluation),
        problems=problems(evaluation),
        notes=notes(),
        rankings=rankings(evaluation),
        pair_tables=pair_tables(comparisons(evaluation)),
        tables=[(table, best_cells(table)) for table in found],
        legend={name: metric for name, metric in METRICS.items() if name in used},
        lossless_px=LOSSLESS_PX,
        ceiling_mark=AT_CEILING,
    )


def dataset_name(evaluation: Evaluation) -> str:
    """Return the name of the dataset's folder: where it lies is nobody's business but the writer's."""
    return Path(evaluation.dataset).resolve().name


def problems(evaluation: Evaluation) -> tuple[str, ...]:
    """Return which runs have predictions that are not finite, and on which samples."""
    return tuple(entry.problem for entry in evaluation.entries if entry.problem is not None)


def notes() -> tuple[str, ...]:
    """Return what a reader of the tables must know."""
    low, high = Scaling().s1_ranges_db["VV"]
    dates = (
        "T1 is the reference date of a sample, T2 the predicted one; forward predicts the later period from the earlier, "
        "backward the earlier from the later. So s1_t2 (VV) is Sentinel-1's VV at the predicted date."
    )
    grounds = (
        f"Changed ground: radar at the two dates differs by more than {THRESHOLD:g} of the scaling range "
        f"({THRESHOLD * (high - low):.2f} dB on VV's default range), closed, areas under {MIN_PIXELS} px dropped; unchanged is "
        "its complement. Tasks without radar at both dates use the target's sensor."
    )
    signs = (
        "PSNR and SSIM are on images scaled to [0, 1]. ↑ higher is better, ↓ lower is better, → 1 nearer to 1 is better. "
        "± is the sample standard deviation over seeds; – means that nothing supports a value, "
        "invalid that a prediction is not finite."
    )
    perfect = (
        f"{AT_CEILING} PSNR of an image without error is infinite; {PSNR_CEILING_DB:g} dB is put in its place, and means may "
        "contain such values."
    )
    intervals = (
        f"Intervals hold the middle 95 % of {DRAWS} draws of the split's ROIs with replacement, in columns of one ROI of its "
        "patches. With fewer than ten ROIs they are too narrow; with one there is none."
    )
    tests = (
        f"Networks are told apart (highlighted) where Wilcoxon's signed-rank test over ROIs gives p < {SIGNIFICANT_P:g}, "
        "adjusted by Holm for the number of pairs. Too few ROIs: no outcome could have given that."
    )
    return dates, grounds, signs, perfect, intervals, tests


def table_title(table: Table) -> str:
    """Return a table's heading, such as `s1_t2 (VV): PSNR [dB] ↑ on changed ground by ROI`."""
    return f"{table.target}: {METRICS[table.metric].head + ' ' if table.metric else ''}{table.about}"


def format_cell(value: Cell, metric: str) -> str:
    """Return `mean ± spread`, a dash where there is nothing, or that it is invalid; a value at its metric's ceiling is marked."""
    if value.mean is None:
        return "invalid" if value.invalid else "–"
    digits, ceiling = METRICS[metric].decimals, METRICS[metric].ceiling
    spread = "" if value.spread is None or math.isnan(value.spread) else f" ± {value.spread:.{digits}f}"
    mean = round(value.mean, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    mark = AT_CEILING if ceiling is not None and mean >= ceiling else ""
    return f"{mean:.{digits}f}{mark}{spread}"


def format_interval(value: Cell, metric: str) -> str:
    """Return `low to high`, or nothing where there is no interval."""
    if value.low is None or value.high is None:
        return ""
    digits = METRICS[metric].decimals
    return f"{round(value.low, digits) + 0.0:.{digits}f} to {round(value.high, digits) + 0.0:.{digits}f}"


def format_difference(found: Comparison | None) -> tuple[str, str, str]:
    """Return a difference, its interval, and what the test says; blanks where there is nothing to say."""
    if found is None:
        return "–", "", ""
    digits = METRICS[found.metric].decimals
    if found.verdict == "equal":
        return "equal", "", ""
    ends = "" if found.low is None or found.high is None else f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    if found.verdict == "too few ROIs":
        test = f"too few ROIs ({found.rois})"
    else:
        test = "p < 0.001" if found.p_adjusted < 0.001 else f"p = {found.p_adjusted:.3f}"
    return f"{found.difference:+.{digits}f}", ends, test


def pair_title(table: PairTable) -> str:
    """Return a heading, such as `s1_t2 (VV): differences between networks`."""
    return f"{table.target}: differences between networks"


def against_next(network: RankedNetwork, ranking: Ranking) -> str:
    """Return what can be said of a network beside the next in the ranking, in words."""
    if not network.against_next:
        return "" if network is ranking.networks[-1] else "–"
    said = dict(zip(ranking.criteria, network.against_next, strict=True))
    parts = []
    for verdict in ("better", "worse"):
        named = [f"{METRICS[metric].label} {ground}" for (metric, ground), found in said.items() if found == verdict]
        parts += [f"{verdict}: {', '.join(named)}"] if named else []
    order: tuple[Verdict, ...] = ("no difference shown", "too few ROIs", "equal")
    return "; ".join(parts) or next(verdict for verdict in order if verdict in network.against_next)


def image_uri(rgb: NDArray[np.uint8]) -> str:
    """Return (y, x, colour) uint8 as a data URI, as small as looks well."""
    grey = bool((rgb == rgb[..., :1]).all())
    return data_uri(rgb[..., 0] if grey else rgb, quality=JPEG_QUALITY)


def _run_folder(path: Path) -> Path:
    """Return the run's folder, also for the folder of one of its checkpoints."""
    return path.resolve().parent.parent if (path / CHECKPOINT_JSON).is_file() else path


def _markdown_ranking(ranking: Ranking) -> list[str]:
    by = [f"rank by {METRICS[metric].label}, {ground} ground" for metric, ground in ranking.criteria]
    body = [
        [
            str(network.place),
            network.label,
            f"{network.mean_rank:.2f}",
            *(f"{rank:g}" for rank in network.ranks),
            against_next(network, ranking),
        ]
        for network in ranking.networks
    ]
    return _markdown(["place", "network", "mean rank", *by, "against the next"], body)


def _markdown_pairs(table: PairTable) -> list[str]:
    body = []
    for first, second, found in table.lines:
        texts = []
        for comparison in found:
            difference, ends, test = format_difference(comparison)
            text = difference + (f" [{ends}]" if ends else "") + (f", {test}" if test else "")
            texts.append(
                f"**{text}**" if comparison is not None and comparison.verdict in ("better", "worse") else text
            )
        body.append([f"{first} − {second}", *texts])
    return _markdown(["networks", *(f"{METRICS[metric].head}, {ground}" for metric, ground in table.columns)], body)


def _markdown_table(table: Table) -> list[str]:
    """Return one line for the values of each network, and one for their intervals if there are any."""
    best = best_cells(table)
    body = []
    for line, (label, cells) in enumerate(table.lines):
        texts = [format_cell(value, metric) for value, metric in zip(cells, table.metrics, strict=True)]
        ends = [format_interval(value, metric) for value, metric in zip(cells, table.metrics, strict=True)]
        body.append([label, *(f"**{text}**" if (line, column) in best else text for column, text in enumerate(texts))])
        if any(ends):
            body.append([f"{label}, 95 %", *ends])
    columns = table.columns if table.metric else [METRICS[metric].head for metric in table.metrics]
    return _markdown(["network", *columns], body)


def _markdown(head: list[str], body: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
