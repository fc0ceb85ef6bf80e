"""The description of the service that the client asks for before anything else."""

import json
from typing import Any


def document(url: str) -> bytes:
    """Return a discovery document for the three methods that are served."""

    def method(name: str, verb: str, path: str) -> dict[str, Any]:
        project = {"location": "path", "pattern": "^projects/[^/]+$", "required": True, "type": "string"}
        body = {} if verb == "GET" else {"request": {"type": "any"}}
        return {
            "id": f"earthengine.projects.{name}",
            "httpMethod": verb,
            "path": path,
            "parameterOrder": ["project"],
            "parameters": {"project": project},
            "response": {"type": "any"},
            **body,
        }

    resources = {
        "algorithms": {"list": method("algorithms.list", "GET", "v1/{+project}/algorithms")},
        "value": {"compute": method("value.compute", "POST", "v1/{+project}/value:compute")},
        "image": {"computePixels": method("image.computePixels", "POST", "v1/{+project}/image:computePixels")},
    }
    parameters = {
        "prettyPrint": {"location": "query", "type": "boolean"},
        "alt": {"location": "query", "type": "string"},
    }
    return json.dumps(
        {
            "kind": "discovery#restDescription",
            "discoveryVersion": "v1",
            "id": "earthengine:v1",
            "name": "earthengine",
            "version": "v1",
            "protocol": "rest",
            "rootUrl": f"{url}/",
            "baseUrl": f"{url}/",
            "basePath": "/",
            "servicePath": "",
            "batchPath": "batch",
            "parameters": parameters,
            "schemas": {},
            "resources": {"projects": {"resources": {name: {"methods": one} for name, one in resources.items()}}},
        }
    ).encode()
