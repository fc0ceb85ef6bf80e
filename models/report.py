"""Write an evaluation as JSON, Markdown and one HTML page that needs no other file."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined

from .checkpoint import JSON_NAME as CHECKPOINT_JSON
from .results import Evaluation
from .tables import Cell, Ranking, Table, best_cells, rankings, tables

JSON_NAME: Final = "evaluation.json"
MARKDOWN_NAME: Final = "evaluation.md"
HTML_NAME: Final = "evaluation.html"
COMPARISON_FOLDER: Final = Path("evaluation")
TEMPLATE: Final = "evaluation.html.j2"
GROUND_NOTE: Final = (
    "Changed ground: radar at the two dates differs by more than 0.09 of the scaling range (3.15 dB), closed, areas under "
    "40 px dropped; unchanged is its complement. Tasks without radar at both dates use the target's sensor. PSNR and "
    "SSIM are on images scaled to [0, 1]. ± is the sample standard deviation over seeds; – means that nothing supports a value."
)
_DECIMALS: Final[Mapping[str, int]] = {"psnr": 2, "wpsnr": 2, "psnr_2to1": 2, "mae_db": 2, "rmse_db": 2, "sam_deg": 2}
_DEFAULT_DECIMALS: Final = 3


def write_evaluation(evaluation: Evaluation, folder: Path) -> tuple[Path, Path, Path]:
    """Write `evaluation.json`, `.md` and `.html`; each appears only when whole.

    Args:
        evaluation: What to write.
        folder: Made if missing; earlier files of these names are replaced.

    Returns:
        The three paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {JSON_NAME: to_json(evaluation), MARKDOWN_NAME: to_markdown(evaluation), HTML_NAME: to_html(evaluation)}
    for name, text in contents.items():
        partial = folder / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    return folder / JSON_NAME, folder / MARKDOWN_NAME, folder / HTML_NAME


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
        "rows": [asdict(row) for row in evaluation.rows],
    }
    return json.dumps(document, indent=1, allow_nan=False)


def ranking_rows(ranking: Ranking) -> dict[str, object]:
    """Return a ranking as JSON values."""
    places = [
        {**place._asdict(), "ranks": dict(zip(ranking.criteria, place.ranks, strict=True))} for place in ranking.places
    ]
    return {"target": ranking.target, "criteria": list(ranking.criteria), "places": places}


def to_markdown(evaluation: Evaluation) -> str:
    """Return rankings and tables as Markdown; the best value of a column is bold."""
    lines = [f"# Evaluation on {evaluation.dataset}, split {evaluation.split}", "", GROUND_NOTE, ""]
    for ranking in rankings(evaluation):
        lines += [f"## Ranking: {ranking.target}", "", *_markdown_ranking(ranking), ""]
    for table in tables(evaluation):
        lines += [f"## {table.title}", "", *_markdown_table(table), ""]
    return "\n".join(lines)


def to_html(evaluation: Evaluation) -> str:
    """Return one page with rankings, tables and pictures, everything inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = format_cell
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        evaluation=evaluation,
        note=GROUND_NOTE,
        rankings=rankings(evaluation),
        tables=[(table, best_cells(table)) for table in tables(evaluation)],
    )


def format_cell(value: Cell, metric: str) -> str:
    """Return `mean ± spread`, or a dash where there is nothing."""
    if value.mean is None:
        return "–"
    digits = _DECIMALS.get(metric, _DEFAULT_DECIMALS)
    spread = "" if value.spread is None or math.isnan(value.spread) else f" ± {value.spread:.{digits}f}"
    mean = round(value.mean, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{mean:.{digits}f}{spread}"


def _run_folder(path: Path) -> Path:
    """Return the run's folder, also for the folder of one of its checkpoints."""
    return path.resolve().parent.parent if (path / CHECKPOINT_JSON).is_file() else path


def _markdown_ranking(ranking: Ranking) -> list[str]:
    head = ["place", "network", "mean rank", *ranking.criteria]
    body = [
        [str(place.place), place.label, f"{place.mean_rank:.2f}", *(f"{rank:g}" for rank in place.ranks)]
        for place in ranking.places
    ]
    return _markdown(head, body)


def _markdown_table(table: Table) -> list[str]:
    best = best_cells(table)
    body = []
    for line, (label, cells) in enumerate(table.lines):
        texts = [format_cell(value, metric) for value, metric in zip(cells, table.metrics, strict=True)]
        body.append([label, *(f"**{text}**" if (line, place) in best else text for place, text in enumerate(texts))])
    return _markdown(["network", *table.columns], body)


def _markdown(head: list[str], body: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
