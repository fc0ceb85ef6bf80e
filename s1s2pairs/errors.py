"""Everything that can go wrong on purpose, in one tree.

    S1S2Error
    ├── RecipeError            the recipe, or an option that changes it, is wrong
    ├── GridError              a grid or raster does not fit
    ├── SourceError            a source of scenes cannot be used
    │   ├── NotAuthenticated   credentials are missing or were refused
    │   ├── SourceUnreachable  no connection can be made, or there is no such host
    │   ├── MissingFile        a file that it lists is not there
    │   ├── QuotaExceeded      the source refuses more requests
    │   └── NoAcquisitions     the source works, but nothing in it meets the rules
    ├── DatasetError           a built dataset is missing, incomplete or damaged
    └── RunError               training, evaluation or translation cannot go on

A message says what is wrong, where, the value got, what is allowed and what to do next, in one or two lines. `cli.py`
turns each class into an exit code.
"""

from .untrusted import redacted


class S1S2Error(Exception):
    """Any failure this project explains; its text is meant for the person who typed the command.

    Addresses in it lose their queries, names and passwords: texts end in locks, logs and reports.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(redacted(text))


class RecipeError(S1S2Error):
    """A recipe or build option is wrong. Nothing has been fetched."""


class GridError(S1S2Error):
    """A pixel grid or raster does not fit where it is used."""


class SourceError(S1S2Error):
    """A source of scenes cannot be used, or answered with something unusable."""


class NotAuthenticated(SourceError):
    """Credentials are missing or were refused; the text says how to sign in."""


class SourceUnreachable(SourceError):
    """A source cannot be reached at all: no connection, or no such host; the whole build stops."""


class MissingFile(SourceError):
    """A file that a source lists is not there; the text names it. Others may be."""


class QuotaExceeded(SourceError):
    """The source refuses more requests for now, after the retries allowed."""


class NoAcquisitions(SourceError):
    """The source answers, but no acquisition meets the recipe's rules; the text gives the counts."""


class DatasetError(S1S2Error):
    """A built dataset is missing, incomplete or damaged; the text names the file."""


class RunError(S1S2Error):
    """Training, evaluation or translation cannot start or go on."""
