"""Files in object storage: `s3://` addresses, read through GDAL with keys and endpoint from the environment."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...errors import NotAuthenticated, SourceError

SCHEME = "s3://"
_ENDPOINTS = ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""The first is GDAL's (a host), the others are the AWS tools' (a URL); the first that is set counts."""
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_WITH_SCHEME = re.compile(r"^\w+://")
_REFUSED = (
    "AWS_SECRET_ACCESS_KEY and AWS_NO_SIGN_REQUEST",  # GDAL found no keys
    "No valid AWS credentials",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "Access Key Id you provided",
)


def gdal_path(href: str) -> str:
    """Return the name under which GDAL reads an address or path."""
    if href.startswith(SCHEME):
        return f"/vsis3/{href.removeprefix(SCHEME)}"
    return f"/vsicurl/{href}" if "://" in href else href


def gdal_options(href: str, endpoint: str, *, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return GDAL's options for an address, none but for `s3://`. GDAL takes the keys from the environment itself.

    Args:
        href: The address.
        endpoint: URL of the service that holds it, as the catalogue says; empty for Amazon's own.
        environment: Where the variables are.

    Raises:
        NotAuthenticated: The catalogue names a service, and no keys or no endpoint are set for it.
        SourceError: The endpoint that is set is no address.
    """
    if not href.startswith(SCHEME):
        return {}
    chosen = next((environment[name] for name in _ENDPOINTS if environment.get(name)), "")
    profile = environment.get("AWS_PROFILE")
    if endpoint and not (chosen and (profile or all(environment.get(name) for name in _KEYS))):
        bucket = href.removeprefix(SCHEME).partition("/")[0]
        raise NotAuthenticated(
            f"{SCHEME}{bucket} is read with keys of {endpoint}: set {' and '.join(_KEYS)} to yours, and "
            f"AWS_S3_ENDPOINT={_WITH_SCHEME.sub('', endpoint).partition('/')[0]}"
        )
    if not chosen:
        return {}
    try:
        url = urlsplit(chosen if "://" in chosen else f"https://{chosen}")
    except ValueError as error:
        names = ", ".join(_ENDPOINTS)
        raise SourceError(f"{chosen}: {error}; correct the endpoint in the environment (one of {names})") from error
    return {
        "AWS_S3_ENDPOINT": url.netloc,
        "AWS_HTTPS": environment.get("AWS_HTTPS", "NO" if url.scheme == "http" else "YES"),
        # Services other than Amazon's have the bucket in the path.
        "AWS_VIRTUAL_HOSTING": environment.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }


def refused(reason: str) -> bool:
    """Tell from GDAL's words whether keys are missing or were not accepted."""
    return any(sign in reason for sign in _REFUSED)


HOW_TO_SIGN_IN = f"set {' and '.join(_KEYS)}, or AWS_NO_SIGN_REQUEST=YES for a public bucket"
