"""Walk an expression graph: look names up, check arguments against Earth Engine's own signatures, call what is implemented."""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from .assumptions import is_broken
from .values import Refusal

Function = Callable[..., Any]
IMPLEMENTED: dict[str, Function] = {}
_UNDEFINED = object()


def implements(name: str) -> Callable[[Function], Function]:
    """Register a function under its name in Earth Engine. Its parameters are the arguments it understands, by their own names."""

    def register(function: Function) -> Function:
        signature = signatures().get(name)
        if signature is None:
            raise LookupError(f"Earth Engine has no function {name}")
        known = {argument["argumentName"] for argument in signature.get("arguments", ())}
        unknown = {p.rstrip("_") for p in inspect.signature(function).parameters} - known
        if unknown:
            raise LookupError(f"{name} has no argument {sorted(unknown)}; it has {sorted(known)}")
        IMPLEMENTED[name] = function
        return function

    return register


@cache
def algorithms() -> bytes:
    """The reply to a request for the list of algorithms: the client ships one for its own tests."""
    return (files("ee") / "tests" / "algorithms.json").read_bytes()


@cache
def signatures() -> dict[str, dict[str, Any]]:
    """Earth Engine's functions by name."""
    return {one["name"].removeprefix("algorithms/"): one for one in json.loads(algorithms())["algorithms"]}


class Evaluation:
    """One expression."""

    def __init__(self, expression: Mapping[str, Any]) -> None:
        _only(expression, {"result", "values"}, "an expression")
        self._values = expression["values"]
        self._result = expression["result"]
        self._known: dict[str, Any] = {}
        self._free: dict[str, frozenset[str]] = {}

    def result(self) -> Any:
        return self._reference(self._result, {})

    def _reference(self, name: str, bound: Mapping[str, Any]) -> Any:
        if name not in self._values:
            raise Refusal(f"the expression refers to {name!r}, which it does not hold")
        if self._free_names(name):  # depends on the arguments of a mapped function: computed anew for each element
            return self._value(self._values[name], bound)
        if name not in self._known:
            self._known[name] = self._value(self._values[name], {})
        return self._known[name]

    def _value(self, node: Mapping[str, Any], bound: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one per kind of node
        if len(node) != 1:
            raise Refusal(f"a node of the expression must have one key, this one has {sorted(node)}")
        ((kind, content),) = node.items()
        match kind:
            case "constantValue":
                return content
            case "integerValue":
                return int(content)
            case "valueReference":
                return self._reference(content, bound)
            case "argumentReference":
                if content not in bound:
                    raise Refusal(f"the argument {content!r} is not bound here")
                return bound[content]
            case "arrayValue":
                values = [self._value(one, bound) for one in content.get("values", ())]
                return values[::-1] if is_broken("list-order") and isinstance(values[0], dict) else values
            case "dictionaryValue":
                return {name: self._value(one, bound) for name, one in content.get("values", {}).items()}
            case "functionDefinitionValue":
                return self._definition(content, bound)
            case "functionInvocationValue":
                return self._invocation(content, bound)
        raise Refusal(f"this server does not know nodes of the kind {kind!r}")

    def _definition(self, content: Mapping[str, Any], bound: Mapping[str, Any]) -> Function:
        names = content["argumentNames"]

        def call(*arguments: Any) -> Any:
            return self._reference(content["body"], {**bound, **dict(zip(names, arguments, strict=True))})

        return call

    def _invocation(self, content: Mapping[str, Any], bound: Mapping[str, Any]) -> Any:
        _only(content, {"functionName", "arguments"}, "a function call")
        name = content["functionName"]
        signature = signatures().get(name)
        if signature is None:
            raise Refusal(f"Earth Engine has no function {name!r}")
        if name not in IMPLEMENTED:
            raise Refusal(f"this server does not implement {name}")
        given = {key: self._value(node, bound) for key, node in content.get("arguments", {}).items()}
        return IMPLEMENTED[name](**_arguments(name, signature, given))

    def _free_names(self, name: str) -> frozenset[str]:
        if name not in self._free:
            self._free[name] = frozenset()  # a graph has no cycles, so this is never read half done
            self._free[name] = self._free_in(self._values[name])
        return self._free[name]

    def _free_in(self, node: Any) -> frozenset[str]:
        if isinstance(node, list):
            return frozenset().union(*map(self._free_in, node))
        if not isinstance(node, dict):
            return frozenset()
        found: frozenset[str] = frozenset()
        for key, content in node.items():
            if key == "constantValue":
                continue
            if key == "argumentReference":
                found |= {content}
            elif key == "valueReference":
                found |= self._free_names(content)
            elif key == "functionDefinitionValue":
                found |= self._free_names(content["body"]) - set(content["argumentNames"])
            else:
                found |= self._free_in(content)
        return found


def _arguments(name: str, signature: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Check what was given against the signature, fill in defaults, and keep what the implementation understands."""
    declared = {argument["argumentName"]: argument for argument in signature.get("arguments", ())}
    for argument in given:
        if argument not in declared:
            raise Refusal(f"{name} has no argument {argument!r}; it has {sorted(declared)}")
    understood = {p.rstrip("_"): p for p in inspect.signature(IMPLEMENTED[name]).parameters}
    arguments = {}
    for argument, declaration in declared.items():
        default = declaration.get("defaultValue")
        value = given.get(argument, _UNDEFINED)
        if value is _UNDEFINED:
            if not declaration.get("optional"):
                raise Refusal(f"{name}: the argument {argument!r} is missing")
            value = default
        if argument in understood:
            arguments[understood[argument]] = value
        elif value != default:
            raise Refusal(f"this server does not implement the argument {argument!r} of {name}")
    return arguments


def _only(mapping: Mapping[str, Any], allowed: set[str], what: str) -> None:
    if unknown := set(mapping) - allowed:
        raise Refusal(f"{what} has no {sorted(unknown)}; it has {sorted(allowed)}")
