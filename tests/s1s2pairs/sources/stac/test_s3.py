"""What GDAL is told of object storage."""

import pytest

from s1s2pairs.errors import NotAuthenticated, SourceError
from s1s2pairs.sources.stac import s3
from tests.refusals import refuses

KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret"}
CDSE = "https://eodata.dataspace.copernicus.eu"


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        (
            KEYS | {"AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu"},
            {"AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu", "AWS_HTTPS": "YES", "AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
        (
            {"AWS_PROFILE": "cdse", "AWS_ENDPOINT_URL": "http://minio:9000", "AWS_VIRTUAL_HOSTING": "TRUE"},
            {"AWS_S3_ENDPOINT": "minio:9000", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "TRUE"},
        ),
    ],
)
def test_a_service_s_endpoint(environment: dict[str, str], options: dict[str, str]) -> None:
    assert s3.gdal_options("s3://eodata/a.jp2", CDSE, environment=environment) == options


def test_amazon_s_own_buckets_need_no_endpoint() -> None:
    assert s3.gdal_options("s3://deafrica-sentinel-1/a.tif", "", environment={}) == {}
    assert s3.gdal_options("https://example.org/a.tif", CDSE, environment={}) == {}
    assert s3.gdal_path("s3://bucket/a.tif") == "/vsis3/bucket/a.tif"
    assert s3.gdal_path("/data/a.tif") == "/data/a.tif"


@pytest.mark.parametrize("environment", [{}, KEYS, {"AWS_S3_ENDPOINT": "x", "AWS_ACCESS_KEY_ID": "me"}])
def test_what_is_missing_is_named(environment: dict[str, str]) -> None:
    with refuses(
        NotAuthenticated,
        "s3://eodata",
        CDSE,
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_S3_ENDPOINT=eodata.dataspace.copernicus.eu",
    ):
        s3.gdal_options("s3://eodata/a.jp2", CDSE, environment=environment)


def test_endpoints_that_are_no_address() -> None:
    with refuses(NotAuthenticated, "s3://eodata", "https://[x", "AWS_S3_ENDPOINT=[x"):
        s3.gdal_options("s3://eodata/a.jp2", "https://[x/y", environment={})
    with refuses(SourceError, "https://[x", "AWS_ENDPOINT_URL"):
        s3.gdal_options("s3://eodata/a.jp2", "", environment={"AWS_ENDPOINT_URL": "https://[x"})


@pytest.mark.parametrize(
    ("reason", "is_refusal"),
    [
        (
            "AWS_SECRET_ACCESS_KEY and AWS_NO_SIGN_REQUEST configuration options not defined, and no credentials file",
            True,
        ),
        ("InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.", True),
        ("The specified key does not exist.", False),
    ],
)
def test_refused_keys_are_told_from_missing_files(reason: str, is_refusal: bool) -> None:
    assert s3.refused(reason) is is_refusal
