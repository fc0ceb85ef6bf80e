"""Files of tensors (safetensors), read only if they are what was written. Pickles are never opened."""

import hashlib
import logging
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s1s2pairs.errors import RunError

logger = logging.getLogger(__name__)

PICKLE_SUFFIXES: Final = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".tar")
PICKLE_STARTS: Final = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
"""First bytes of what `torch.save` writes (a zip archive, before PyTorch 1.6 a bare pickle) and of pickles by themselves."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_pickled(path: Path) -> None:
    """Refuse a file of tensors whose name or first bytes are a pickle's; a missing file passes.

    Raises:
        RunError: It is a pickle.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES or is_pickle(path):
        raise RunError(
            f"{path} is no safetensors file but a pickle, as torch.save writes it; pickles can run code when opened and are "
            "never loaded; put back the file that `s1s2 train` wrote, use the run's other checkpoint, or train again"
        )


def is_pickle(path: Path) -> bool:
    """Return whether a file begins like a pickle; it is not opened as one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(PICKLE_STARTS)


def read_tensors(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: The file.
        sha256: What its SHA-256 must be; None where the checkpoint is too old to say, which is noted in the log.

    Raises:
        RunError: It is no safetensors file, or not the one that was written.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is no readable safetensors file ({error}); use the run's other checkpoint") from error
    if sha256 is None:
        logger.warning("%s: its checkpoint is of a time before hashes were kept, so damage to it cannot be seen.", path)
    elif file_sha256(path) != sha256:
        raise RunError(
            f"{path} is damaged or changed: its SHA-256 is not the one in its checkpoint; "
            "copy it again, use the run's other checkpoint, or train again"
        )
    return tensors
