"""The same work in threads and on a Dask cluster."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s1s2pairs.build import raster
from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.build.workers import open_pool
from s1s2pairs.dataset import unit_files
from s1s2pairs.errors import GridError, RecipeError
from tests.refusals import assert_names, refuses
from tests.s1s2pairs.conftest import Built, tree
from tests.s1s2pairs.fake_source import FakeOpener, calls, inject

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask leaves sockets to the garbage collector


def not_three(number: int) -> None:
    if number == 3:
        raise GridError("three")


def test_tasks_end_with_their_explained_errors() -> None:
    with open_pool(workers=3) as pool:
        outcomes = {done.task: done.error for done in pool.run(not_three, range(10))}
    assert isinstance(outcomes.pop(3), GridError)
    assert outcomes == dict.fromkeys((0, 1, 2, 4, 5, 6, 7, 8, 9))


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    with open_pool(workers=2) as pool:
        outcomes = pool.run(not_three, tasks())
        next(outcomes)
        assert taken <= 5
        outcomes.close()  # type: ignore[attr-defined]


def test_no_more_threads_than_workers() -> None:
    running, most, lock, three = 0, 0, threading.Lock(), threading.Barrier(3, timeout=60)

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three.wait()
        with lock:
            running -= 1

    with open_pool(workers=3) as pool:
        list(pool.run(work, range(21)))
    assert most == 3


def test_requests_are_shared_out_among_processes() -> None:
    earth_engine = SourceOpener(name="earthengine", requests=24)
    assert earth_engine.share(5).requests == 4
    assert earth_engine.share(5).requests * 5 <= 24
    assert earth_engine.most_processes == 24
    assert SourceOpener(name="/archive").most_processes is None


def test_all_requests_are_in_flight_while_rasters_are_encoded() -> None:
    assert SourceOpener(name="earthengine", requests=24).usual_workers == 24 + 2 * raster.ENCODERS


def test_a_few_rasters_are_encoded_at_once_while_the_source_is_asked_for_others(
    built: Built, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, encode, lock, all_asked = raster.fetch, unit_files.encode, threading.Lock(), threading.Event()
    asked, encoding, most = 0, 0, 0

    def counted_fetch(*arguments: Any) -> Any:
        nonlocal asked
        with lock:
            asked += 1
            if asked == 8:
                all_asked.set()
        return fetch(*arguments)

    def slow_encode(*arguments: Any, **options: Any) -> bytes:
        nonlocal encoding, most
        with lock:
            encoding += 1
            most = max(most, encoding)
        assert all_asked.wait(30), "whoever encodes keeps others from asking"
        content = encode(*arguments, **options)
        with lock:
            encoding -= 1
        return content

    monkeypatch.setattr(raster, "fetch", counted_fetch)
    monkeypatch.setattr(unit_files, "encode", slow_encode)
    build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"), workers=8)
    assert 1 <= most <= raster.ENCODERS
    assert tree(tmp_path / "out") == tree(built.root)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two worker processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0"
    ) as local:
        yield local.scheduler_address


def test_a_cluster_builds_the_same_bytes(cluster: str, built: Built, source: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    inject(source, ("mean_sar", "south", "source"))
    report = build(built.recipe, opener=FakeOpener(folder=str(source)), out=out, dask=cluster)
    assert [outcome.roi for outcome in report.failed] == ["south"]
    before = calls(source)
    inject(source)
    build(built.recipe, opener=FakeOpener(folder=str(source)), out=out, dask=cluster)
    assert tree(tmp_path / "out") == tree(built.root)
    assert not [call for call in calls(source) - before if call.endswith("north")]


def test_a_task_that_kills_its_workers_is_given_up(cluster: str, built: Built, source: Path, tmp_path: Path) -> None:
    """The ROI fails with that reason; what happened to wait on the same worker may fail too; the next start mends it."""
    with distributed.Client(cluster, set_as_default=False) as client:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
        inject(source, ("mean_sar", "south", "die"))
        report = build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"), dask=cluster)
        reasons = {outcome.roi: str(outcome.failure) for outcome in report.failed}
        assert_names(reasons["south"], "Dask", "workers", but_not=("injected",))
        inject(source)
        client.wait_for_workers(2, timeout=60)
    build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"), dask=cluster)
    assert tree(tmp_path / "out") == tree(built.root)


def test_a_quota_limits_the_processes_used(cluster: str) -> None:
    with open_pool(workers=1, dask=cluster, most_processes=1) as pool:
        assert pool.processes == 1
        assert pool.threads == 1


def test_no_scheduler_is_one_message(
    built: Built, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s1s2pairs.build.workers.CONNECT_TIMEOUT", "0.5s")
    with refuses(RecipeError, "--dask tcp://127.0.0.1:9", "0.5"):
        build(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"), dask="tcp://127.0.0.1:9")


def test_dask_is_imported_only_when_asked_for() -> None:
    code = "import sys, s1s2pairs.build; sys.exit('distributed' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
