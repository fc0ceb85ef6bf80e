"""Which device a word means."""

import torch

from s1s2pairs.errors import RunError


def choose_device(word: str) -> torch.device:
    """Return the device to compute on.

    Args:
        word: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        RunError: The word is unknown, or asks for a CUDA device that is not there.
    """
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = word.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise RunError(f"Unknown device {word!r}: choose auto, cpu, cuda or cuda:N.")
    if kind == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found <= int(number or 0):
            raise RunError(
                f"Device {word!r} asked for, but PyTorch {torch.__version__} sees {found} CUDA devices here. "
                "Use --device cpu or auto, or install a CUDA build of PyTorch and check `nvidia-smi`."
            )
    return torch.device(word)
