"""What a user asks a build for, with everything left open filled in; the command and the Python front door share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import RecipeError
from ..plan import lock
from ..plan.choices import Plan, rois_of, shared_ground, small_rois
from ..progress import Progress
from ..recipe.settings import Recipe
from .build import BuildReport, build, plan_only
from .opener import SourceOpener


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """One build."""

    subject: Recipe | Plan
    opener: SourceOpener
    out: str
    """Folder or fsspec URL."""
    workers: int
    dask: str | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe | Plan | str | Path,
        *,
        years: Sequence[int] = (),
        source: str | None = None,
        radar_source: str | None = None,
        out: str | Path | None = None,
        workers: int | None = None,
        dask: str | None = None,
        project: str | None = None,
        requests: int = 24,
        allow_hosts: Sequence[str] = (),
    ) -> Self:
        """Fill in what is left open.

        Args:
            recipe: A recipe or lock, or the file of one.
            years: Years to build, for a recipe that lists no periods.
            source: `earthengine` (the default), `stac:URL`, or the path of a STAC catalogue on disk.
            radar_source: Another one for the radar images.
            out: Folder or fsspec URL; else `data/<recipe name>`.
            workers: Images made at once; else what suits the source.
            dask: Address of a Dask scheduler whose workers do the work instead.
            project: Google Cloud project, for Earth Engine only.
            requests: Most requests in flight at once, for Earth Engine only.
            allow_hosts: Hosts, buckets and folders from which a STAC catalogue's files may be read, beside its own.

        Raises:
            RecipeError: The recipe is wrong, there are no workers, or a lock was made from a catalogue whose place is not given.
        """
        if workers is not None and workers < 1:
            raise RecipeError(f"workers: expected a whole number from 1, found {workers}")
        subject = lock.load(Path(recipe), years=years) if isinstance(recipe, str | Path) else recipe
        name, radar = lock.sources_for(subject, source, radar_source)
        opener = SourceOpener(
            name=name, radar=radar, project=project, requests=requests, allow_hosts=tuple(allow_hosts)
        )
        return cls(
            subject=subject,
            opener=opener,
            out=str(out or f"data/{subject.name}"),
            workers=workers or opener.usual_workers,
            dask=dask,
        )

    def warnings(self) -> list[str]:
        """Return what the user should know beforehand."""
        rois = rois_of(self.subject)
        shared = [
            f"the grids of {one} and {other} overlap although their splits differ" for one, other in shared_ground(rois)
        ]
        small = [
            f"{name} has {rows} x {columns} pixels, fewer than a patch of {size}: ground around it makes up for them"
            for name, rows, columns, size in small_rois(rois)
        ]
        return shared + small

    def plan(self, progress: Progress | None = None) -> Plan:
        """Make all choices and write the lock file, fetching no pixels. Errors as for `build`."""
        return plan_only(
            self.subject, opener=self.opener, out=self.out, workers=self.workers, dask=self.dask, progress=progress
        )

    def build(self, progress: Progress | None = None) -> BuildReport:
        """Build the dataset, or finish one that was begun. Errors as for `build.build`."""
        return build(
            self.subject, opener=self.opener, out=self.out, workers=self.workers, dask=self.dask, progress=progress
        )


def build_dataset(
    recipe: Recipe | Plan | str | Path,
    *,
    years: Sequence[int] = (),
    source: str | None = None,
    radar_source: str | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    allow_hosts: Sequence[str] = (),
) -> BuildReport:
    """Build a dataset, or finish one that was begun: `s1s2 build` from Python.

    Arguments and errors as for `BuildRequest.of` and `build.build`.

    Returns:
        What became of each ROI, and the plan.
    """
    return BuildRequest.of(
        recipe,
        years=years,
        source=source,
        radar_source=radar_source,
        out=out,
        workers=workers,
        allow_hosts=allow_hosts,
    ).build()
