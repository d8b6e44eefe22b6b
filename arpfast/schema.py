"""The settings file as JSON Schema, for editors: made from the same structs that read it."""

from __future__ import annotations

from typing import Any

import msgspec
import msgspec.inspect as types

from arpfast.config import READERS, Config
from arpfast.decode import OFF, plain

# An editor that reads YAML 1.1 takes an unquoted `off` for false
_OFF = {"enum": [OFF, False]}


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Config`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "arpfast settings",
        **_schema(types.type_info(Config)),
    }


def _schema(wrapped: types.Type) -> dict[str, Any]:
    expected, _, optional = plain(wrapped)
    description = (wrapped.extra_json_schema or {}) if isinstance(wrapped, types.Metadata) else {}
    found = _plain_schema(expected)
    return {**description, **({"anyOf": [found, _OFF]} if optional else found)}


def _plain_schema(expected: types.Type) -> dict[str, Any]:
    match expected:
        case types.StructType(cls=cls) | types.CustomType(cls=cls) if cls in READERS:
            return dict(READERS[cls].schema)
        case types.StructType(cls=cls, fields=fields):
            properties = {}
            for one in fields:
                properties[one.encode_name] = _schema(one.type)
                if one.default is not msgspec.NODEFAULT:
                    properties[one.encode_name]["default"] = _written(one.default)
            described = {"type": "object", "properties": properties, "additionalProperties": False}
            if required := [one.encode_name for one in fields if one.required]:
                described["required"] = required
            if one_of := getattr(cls, "ONE_OF", ()):
                described["oneOf"] = [{"required": [name]} for name in one_of]
            return described
        case types.LiteralType(values=values):
            return {"enum": [*values, *([False] if OFF in values else [])]}
        case types.IntType(ge=lowest, le=highest):
            return {"type": "integer", "minimum": lowest, "maximum": highest}
        case types.BoolType():
            return {"type": "boolean"}
        case types.StrType(pattern=pattern):
            return {"type": "string", **({"pattern": pattern} if pattern else {})}
        case types.VarTupleType(item_type=item_type, min_length=least):
            return {"type": "array", "items": _schema(item_type), **({"minItems": least} if least else {})}
    raise AssertionError(f"no way to describe a {expected}")


def _written(value: Any) -> Any:
    """A default as the user would write it."""
    if value is None:
        return OFF
    if type(value) in READERS:
        return READERS[type(value)].write(value)
    return msgspec.to_builtins(value, enc_hook=lambda one: READERS[type(one)].write(one))
