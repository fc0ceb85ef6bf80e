"""The stand-in refuses, loudly and in a way the client does not try again, whatever it does not do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server

Ask = Callable[..., Server]


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value: Any) -> dict[str, Any]:
    return {"constantValue": value}


def expression(node: dict[str, Any]) -> dict[str, Any]:
    return {"expression": {"result": "0", "values": {"0": node}}}


IMAGE = call("Image.load", id=constant("COPERNICUS/S1_GRD_FLOAT/S1A_2019_037_0_0"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (expression(call("Image.conjure")), "no function 'Image.conjure'"),
        (expression(call("Image.sqrt", value=IMAGE)), "does not implement Image.sqrt"),
        (expression(call("Image.select", input=IMAGE, colour=constant("red"))), "no argument 'colour'"),
        (expression(call("Image.select", input=IMAGE)), "'bandSelectors' is missing"),
        (
            expression(call("Image.load", id=constant("X"), version=constant(3))),
            "does not implement the argument 'version'",
        ),
        (expression(call("Image.select", input=IMAGE, bandSelectors=constant(["HH"]))), "did not match any bands"),
        (expression(call("Image.load", id=constant("COPERNICUS/S1_GRD_FLOAT/GONE"))), "not found"),
        (expression({"argumentReference": "x"}), "not bound"),
        (expression({"mysteryValue": 1}), "kind 'mysteryValue'"),
        ({**expression(IMAGE), "workloadTag": "x"}, "workloadTag"),
        (expression(IMAGE), "gives no Image back"),
        (expression(call("Image.select", input=constant(3), bandSelectors=constant([0]))), "cannot evaluate"),
    ],
)
def test_what_is_not_done_is_refused_by_name(body: Any, said: str, awkward: Path, ask: Ask) -> None:
    status, reply = ask(awkward).post("value:compute", body)
    assert status == 400
    assert said in reply["error"]["message"]


@pytest.mark.parametrize(
    ("size", "said"),
    [((2048, 2049), r"Total request size (50356224 bytes)"), ((40_000, 1), "must be less than or equal to 32768")],
)
def test_the_limits_of_a_request_hold(size: tuple[int, int], said: str, awkward: Path, ask: Ask) -> None:
    transform = {"scaleX": 10, "translateX": 714_500, "scaleY": -10, "translateY": 5_543_300}
    grid = {"dimensions": {"width": size[0], "height": size[1]}, "affineTransform": transform, "crsCode": "EPSG:32631"}
    body = {**expression(IMAGE), "fileFormat": "NPY", "grid": grid, "bandIds": ["VV", "VH", "angle"]}
    status, reply = ask(awkward).post("image:computePixels", body)
    assert status == 400
    assert said in reply["error"]["message"]
