"""One target in this process: `python -m tests.fuzz.run TARGET INPUTS SEED FOLDER`. Findings are left in the folder.

`tests.fuzz.torture` starts it and ends it where it hangs; started again, it goes on after the input that it died of.
"""

import json
import sys
from pathlib import Path

from tests.fuzz.harness import Finding, Tally, bounded_memory, run
from tests.fuzz.targets import TARGETS

STATE, NOTE = "state.json", "input"
_AT_ONCE = 200
"""Inputs between two savings of what came of them."""


def main(name: str, inputs: int, seed: int, folder: Path) -> None:
    """Give a target its inputs, from where an earlier start of the same folder ended."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    tally, done = load(folder, name)
    target = TARGETS[name][0](folder / "work" / str(done))
    with bounded_memory():
        while done < inputs:
            stop = min(inputs, done + _AT_ONCE)
            tally = run(target, stop, seed=seed, note=folder / NOTE, done=done, tally=tally)
            done = stop
            save(folder, tally, done)


def load(folder: Path, name: str) -> tuple[Tally, int]:
    """Return what came of the inputs so far, and how many there were."""
    if not (folder / STATE).exists():
        return Tally(target=name), 0
    state = json.loads((folder / STATE).read_text())
    tally = Tally(**{key: state[key] for key in ("target", "inputs", "accepted", "worst_s", "worst_bytes")})
    for number, kept in enumerate(state["findings"]):
        content = (folder / f"finding-{number}").read_bytes()
        tally.findings[kept["problem"]] = Finding(content=content, **kept)
    tally.inputs = state["done"]  # those lost with a process that died among them
    return tally, state["done"]


def save(folder: Path, tally: Tally, done: int) -> None:
    """Write what came of the inputs so far."""
    findings = list(tally.findings.values())
    for number, finding in enumerate(findings):
        (folder / f"finding-{number}").write_bytes(finding.content)
    kept = [{"part": one.part, "problem": one.problem, "detail": one.detail} for one in findings]
    numbers = {key: getattr(tally, key) for key in ("target", "inputs", "accepted", "worst_s", "worst_bytes")}
    (folder / STATE).write_text(json.dumps({**numbers, "done": done, "findings": kept}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
