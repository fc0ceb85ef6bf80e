"""The full run: every target in a process of its own, ended where it hangs; `python -m tests.fuzz.torture [TARGET ...]`."""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.fuzz.harness import Finding, Tally
from tests.fuzz.run import NOTE, load, save
from tests.fuzz.targets import TARGETS

ROOT: Final = Path(__file__).parents[2]
MEMORY: Final = Path("/dev/shm")
HANG_S: Final = 180.0
"""A process in which no input is done for so long hangs where Python cannot break it off."""
_STARTING_S: Final = 300.0
_MOST_DEATHS: Final = 20


def torture(name: str, inputs: int, *, seed: int, folder: Path) -> Tally:
    """Give a target its inputs, in another process; it is started again after an input that it dies of."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_MOST_DEATHS):
        died = _ended(name, inputs, seed, folder)
        tally, _ = load(folder, name)
        if not died:
            return tally
        if not (folder / NOTE).exists():  # it had done all, and was only slow to end
            return tally
        number, part, content = _noted(folder / NOTE)
        tally.findings[died] = Finding(part=part, content=content, problem=died)
        save(folder, tally, number + 1)
    return load(folder, name)[0]


def _ended(name: str, inputs: int, seed: int, folder: Path) -> str:
    """Wait for one process; say what it died of, if it did."""
    note = folder / NOTE
    note.unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "tests.fuzz.run", name, str(inputs), str(seed), str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    started = time.time()
    while process.poll() is None:
        time.sleep(0.5)
        silent_s = time.time() - (note.stat().st_mtime if note.exists() else started)
        if silent_s > (HANG_S if note.exists() else _STARTING_S):
            process.kill()
            process.wait()
            return "hang in C code"
    if process.returncode and not note.exists():
        raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])
    return f"the process ended with {process.returncode}" if process.returncode else ""


def _noted(note: Path) -> tuple[int, str, bytes]:
    head, _, content = note.read_bytes().partition(b"\n")
    number, _, part = head.decode().partition(" ")
    return int(number), part, content


def main(names: list[str], *, seed: int = 1, at_once: int = 4) -> list[Tally]:
    """Run targets in full, print a line for each, and leave what was found in a folder that is named."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    with ThreadPoolExecutor(at_once) as pool:
        runs = [pool.submit(torture, name, TARGETS[name][2], seed=seed, folder=folder / name) for name in names]
        tallies = [run.result() for run in runs]
    for tally in tallies:
        print(tally)
        for finding in tally.findings.values():
            print(f"  {finding.part}: {finding.problem}; the input lies under {folder / tally.target}")
    print(f"{sum(tally.inputs for tally in tallies):,} inputs in all")
    return tallies


if __name__ == "__main__":
    sys.exit(any(tally.findings for tally in main(sys.argv[1:] or list(TARGETS))))
