"""Make broken patches and rasters again: a patch from its raster, a raster from the source."""

import hashlib
import uuid
from collections.abc import Container, Sequence

from ..dataset.contents import Contents
from ..dataset.noted import CardNotes, IndexNotes
from ..dataset.rasters import decode
from ..dataset.unit_files import patch_file
from ..dataset.units import Unit
from ..plan.choices import Plan
from ..progress import Progress, stage
from .opener import Opener, Session, source_of
from .planning import check_sources, fails_one_roi
from .raster import MendTask, run_mend
from .repair_state import BUILD_AGAIN, Repairs
from .workers import open_pool


def cut_patches(repairs: Repairs, contents: Contents, index: IndexNotes, wrong: Container[str]) -> None:
    """Cut the broken patches of whole rasters again.

    Args:
        repairs: Told what is done.
        contents: What the dataset holds.
        index: Its notes; where they are sure, a patch is written only with the bytes that they tell of.
        wrong: Files that are broken.
    """
    for unit in contents.whole:
        windows = [(window, path) for window, path in unit.patch_paths(left_out=contents.left_out) if path in wrong]
        if unit.raster_path in wrong or not windows:
            continue
        storage = repairs.storage
        pixels = decode(storage.read(unit.raster_path), name=storage.where(unit.raster_path))
        for window, path in windows:
            rows, columns = window.slices
            content = patch_file(unit, window, pixels[:, rows, columns])
            if index.sure and index.sha256.get(path) != hashlib.sha256(content).hexdigest():
                repairs.given_up[path] = (
                    "cut again it has other bytes than the index notes, as another version of GDAL may write it; "
                    f"delete it and {BUILD_AGAIN}"
                )
            else:
                repairs.write(path, content, "cut")


def fetch_rasters(
    repairs: Repairs,
    units: Sequence[Unit],
    plan: Plan,
    card: CardNotes,
    *,
    opener: Opener,
    workers: int,
    progress: Progress,
) -> None:
    """Fetch broken rasters again.

    Args:
        repairs: Told what is done.
        units: Whose rasters are broken.
        plan: That they belong to.
        card: Its notes; where they are sure, a raster is written only with the bytes that they tell of.
        opener: How to get at the source.
        workers: Rasters fetched at once.
        progress: Told how far it is.

    Raises:
        NotAuthenticated: The source refuses the credentials.
        SourceError: The source cannot be used at all.
        RecipeError: The source is another one than the plan's.
    """
    with (
        open_pool(workers=workers, most_processes=opener.most_processes) as pool,
        stage(progress, "fetching rasters", len(units)),
    ):
        session = Session(opener=opener.share(pool.processes), token=uuid.uuid4().hex)
        source = source_of(session)
        check_sources(plan, (source.name, source.radar_name))
        noted = card.sha256 if card.sure else {}
        tasks = [
            MendTask(session=session, storage=repairs.storage, unit=unit, sha256=noted.get(unit.raster_path))
            for unit in units
        ]
        for done in pool.run(run_mend, tasks):
            path = done.task.unit.raster_path
            if done.error is None:
                repairs.repaired[path] = "fetched"
            elif fails_one_roi(done.error):
                repairs.given_up[path] = str(done.error)
            else:
                raise done.error
            progress.step(path)
