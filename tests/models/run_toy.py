"""Train the toy network in a process of its own: `python run_toy.py NETWORK DATASET OUT|--resume=RUN [key=value ...]`."""

import sys
from pathlib import Path

import torch

from models import networks, processes
from models.train.loop import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    networks.__path__.append(str(Path(__file__).parent / "toy"))
    network, dataset, out, *pairs = sys.argv[1:]
    resume = Path(out.removeprefix("--resume=")) if out.startswith("--resume=") else None
    train(
        network,
        Path(dataset),
        out=None if resume else Path(out),
        resume=resume,
        settings=dict(pair.split("=") for pair in pairs),
        device="cpu",
        quiet=True,
    )
    processes.leave()
