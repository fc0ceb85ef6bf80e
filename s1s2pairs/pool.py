"""Where the work runs: threads of this process, or the workers of a Dask cluster."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from .errors import DatasetError, RecipeError, S1S2Error, SourceError

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT: Final = "15s"
_QUEUED_PER_SLOT: Final = 2
"""Tasks handed out per thread: one in work and one waiting, so that no thread idles and no queue fills memory."""


@dataclass(frozen=True, slots=True)
class Pool:
    """An executor and its size."""

    executor: concurrent.futures.Executor
    threads: int
    """Of all processes together."""
    processes: int
    lost: tuple[type[Exception], ...] = ()
    """What the executor raises for a task whose worker is gone for good."""

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | S1S2Error]]:
        """Run a function on every task, a few at a time, and yield each outcome as it comes.

        What the project explains (`S1S2Error`) is yielded; anything else is a bug and raised.
        """
        waiting = iter(tasks)
        running: dict[concurrent.futures.Future[R], T] = {}
        try:
            while True:
                for task in waiting:
                    running[self.executor.submit(function, task)] = task
                    if len(running) >= self.threads * _QUEUED_PER_SLOT:
                        break
                if not running:
                    return
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    outcome: R | S1S2Error = self._outcome(future)
                    yield running.pop(future), outcome
        finally:
            for future in running:
                future.cancel()

    def _outcome(self, future: concurrent.futures.Future[R]) -> R | S1S2Error:
        try:
            return future.result()
        except S1S2Error as error:
            return error
        except self.lost as error:
            return SourceError(f"the Dask workers that tried it were lost, perhaps out of memory: {error}")
        except concurrent.futures.CancelledError as error:
            raise DatasetError(
                "the Dask scheduler was lost; start the build again, what is finished is kept"
            ) from error


@contextlib.contextmanager
def open_pool(*, workers: int, dask: str | None = None, most_processes: int | None = None) -> Iterator[Pool]:
    """Start threads, or connect to a Dask cluster.

    Args:
        workers: Threads, without Dask.
        dask: Address of a Dask scheduler, e.g. `tcp://host:8786`.
        most_processes: On a cluster, use at most so many worker processes.

    Raises:
        RecipeError: Dask is not installed, or there is no cluster at the address.
    """
    if dask is not None:
        with _dask_pool(dask, most_processes) as pool:
            yield pool
        return
    executor = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="s1s2")
    try:
        yield Pool(executor, threads=workers, processes=1)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _dask_pool(address: str, most_processes: int | None) -> Iterator[Pool]:
    try:
        import distributed  # noqa: PLC0415 - an optional extra, loaded when asked for
    except ImportError as error:
        raise RecipeError("--dask needs the extra `dask`: pip install 's1s2pairs[dask]'") from error
    try:
        connect: Any = distributed.Client  # its types are partial
        client = connect(address, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RecipeError(f"--dask {address}: no Dask scheduler answers there: {error}") from error
    with client:
        threads: dict[str, int] = client.nthreads()
        if not threads:
            raise RecipeError(f"--dask {address}: the cluster has no workers; start some with `dask worker {address}`")
        used = dict(sorted(threads.items())[:most_processes])
        # Where the number of processes matters, stay on those counted here; others only if all of these are gone.
        only: dict[str, Any] = {} if most_processes is None else {"workers": list(used), "allow_other_workers": True}
        lost: tuple[Any, ...] = (distributed.KilledWorker,)
        executor = client.get_executor(pure=False, **only)
        try:
            yield Pool(executor, threads=sum(used.values()), processes=len(used), lost=lost)
        finally:
            executor.shutdown(wait=False)
