"""Where the work runs: threads of this process, or the workers of a Dask cluster.

A task leaves its result in the dataset's storage too. From threads the value comes back; from Dask only that it is done, or
why not, which spares a transfer that can hang for good when a worker dies between finishing a task and handing over its result.
"""

import concurrent.futures
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from ..errors import DatasetError, RecipeError, S1S2Error, SourceError

T = TypeVar("T")
V = TypeVar("V")

CONNECT_TIMEOUT: Final = "15s"
_QUEUED_PER_THREAD: Final = 2
"""Tasks handed out per thread: one in work and one waiting, so that no thread idles and no queue fills memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done(Generic[T, V]):
    """A task that has ended."""

    task: T
    value: V | None = None
    """None where values stay on the machines of a cluster."""
    error: S1S2Error | None = None


class Pool(ABC):
    """Something that runs tasks, a few at a time."""

    def __init__(self, *, threads: int, processes: int) -> None:
        self.threads = threads
        """Of all processes together."""
        self.processes = processes

    def run(self, function: Callable[[T], V], tasks: Iterable[T]) -> Iterator[Done[T, V]]:
        """Run a function on every task and yield each as it ends, with its value or the error if it failed.

        What the project explains (`S1S2Error`) is yielded; anything else is a bug and raised. Tasks are taken from the
        iterable only as they are needed.
        """
        waiting = iter(tasks)
        running: dict[Any, T] = {}
        try:
            while True:
                for task in islice(waiting, self.threads * _QUEUED_PER_THREAD - len(running)):
                    running[self._submit(function, task)] = task
                if not running:
                    return
                for future in self._wait(running):
                    task = running.pop(future)
                    try:
                        yield Done(task=task, value=self._value(future))
                    except S1S2Error as error:
                        yield Done(task=task, error=error)
        finally:
            for future in running:
                future.cancel()

    @abstractmethod
    def _submit(self, function: Callable[[T], V], task: T) -> Any:
        """Start a task and return its future."""

    @abstractmethod
    def _wait(self, running: Iterable[Any]) -> Iterable[Any]:
        """Return the futures that have ended, once at least one has."""

    @abstractmethod
    def _value(self, future: Any) -> Any:
        """Return the value of an ended future, None where values stay where they are; raise its error."""


class _Threads(Pool):
    def __init__(self, executor: concurrent.futures.Executor, workers: int) -> None:
        super().__init__(threads=workers, processes=1)
        self._executor = executor

    def _submit(self, function: Callable[[T], V], task: T) -> concurrent.futures.Future[V]:
        return self._executor.submit(function, task)

    def _wait(self, running: Iterable[Any]) -> Iterable[Any]:
        return concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done

    def _value(self, future: concurrent.futures.Future[V]) -> V:
        return future.result()


class _Dask(Pool):
    def __init__(self, client: Any, most_processes: int | None) -> None:
        nthreads: dict[str, int] = client.nthreads()
        used = dict(sorted(nthreads.items())[:most_processes])
        super().__init__(threads=sum(used.values()), processes=len(used))
        self._client = client
        # Where the number of processes matters, stay on those counted here; others only if all of these are gone.
        self._only = {} if most_processes is None else {"workers": list(used), "allow_other_workers": True}

    def _submit(self, function: Callable[[T], V], task: T) -> Any:
        return self._client.submit(_without_value, function, task, pure=False, **self._only)

    def _wait(self, running: Iterable[Any]) -> Iterable[Any]:
        import distributed  # noqa: PLC0415 - an optional extra, loaded when asked for

        wait: Any = distributed.wait  # its types are partial
        try:
            with self._client.as_current():
                ended: Iterable[Any] = wait(list(running), return_when="FIRST_COMPLETED").done
        except concurrent.futures.CancelledError as error:
            raise DatasetError("the Dask scheduler was lost; start again, what is finished is kept") from error
        return ended

    def _value(self, future: Any) -> None:
        import distributed  # noqa: PLC0415 - an optional extra, loaded when asked for

        error = future.exception() if future.status == "error" else None
        future.release()
        if isinstance(error, distributed.KilledWorker):
            raise SourceError(f"the Dask workers that tried it died, perhaps out of memory: {error}")
        if error is not None:
            raise error


def _without_value(function: Callable[[T], object], task: T) -> None:
    function(task)


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
        with _client(dask) as client:
            yield _Dask(client, most_processes)
        return
    executor = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="s1s2")
    try:
        yield _Threads(executor, workers)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
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
        if not client.nthreads():
            raise RecipeError(f"--dask {address}: the cluster has no workers; start some with `dask worker {address}`")
        yield client
