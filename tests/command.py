"""Run `s1s2` in the process of the test."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

import cli

HIDDEN = ("GOOGLE_", "EARTHENGINE_", "S1S2_", "CLOUDSDK_")
"""Variables of this machine's user that must not decide a test."""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def on_no_machine_of_google(patch: pytest.MonkeyPatch) -> None:
    """Keep Google's sign-in from asking the network. (Its variable NO_GCE_CHECK came after the lowest version taken.)"""
    patch.setattr("google.auth.compute_engine._metadata.is_on_gce", lambda request: False)


def s1s2(*words: object, cwd: Path) -> Done:
    """Run the command in this process, without this machine's credentials; an error it does not explain fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        for key in [key for key in os.environ if key.startswith(HIDDEN)]:
            patch.delenv(key)
        patch.setenv("HOME", str(cwd))
        on_no_machine_of_google(patch)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
