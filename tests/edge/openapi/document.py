#!/usr/bin/env python3
"""The document is valid OpenAPI 3.1, by a validator of another project. That validator finds the faults of broken documents.

    document.py DOCUMENT
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from holdall import binary  # noqa: E402
from jsonschema import Draft202012Validator  # noqa: E402
from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: E402


def faults(document: dict) -> list[str]:
    """The faults that the validators find in the document and in each of its schemas."""
    found = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    for name, schema in document["components"]["schemas"].items():
        found += [f"{name}: {error.message}" for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)]
    return found


def dangling(document: dict) -> list[str]:
    """References without a target, and named schemas without a reference."""
    referred: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                referred.add(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in document["components"][kind]}
    return [f"{name} does not exist" for name in sorted(referred - there)] + [f"{name} is unused" for name in sorted(there - referred)]


def drop_title(document: dict) -> None:
    del document["info"]["title"]


def drop_description(document: dict) -> None:
    del document["paths"]["/v1/turns"]["post"]["responses"]["200"]["description"]


def break_reference(document: dict) -> None:
    document["components"]["schemas"]["TurnRequest"]["properties"]["tools"]["items"] = {"$ref": "#/components/schemas/None"}


def misspell_type(document: dict) -> None:
    document["components"]["schemas"]["Problem"]["properties"]["status"]["type"] = "number of three digits"


def name_twice(document: dict) -> None:
    document["paths"]["/v1/usage"]["get"]["operationId"] = "takeTurn"


def main() -> None:
    path = Path(sys.argv[1])
    document = json.loads(path.read_text())
    printed = subprocess.run([binary(), "openapi"], capture_output=True, text=True, check=True).stdout
    if printed != path.read_text():
        raise SystemExit("`holdall openapi` prints another document than docs/openapi.json")
    found = faults(document) + dangling(document)
    if found:
        raise SystemExit("\n".join(found))
    breakers: list[Callable[[dict], None]] = [drop_title, drop_description, break_reference, misspell_type, name_twice]
    for breaker in breakers:
        broken = copy.deepcopy(document)
        breaker(broken)
        try:
            found = faults(broken)
        except Exception as error:  # The validator raises for a reference without a target.
            found = [str(error)]
        if not found:
            raise SystemExit(f"the validator accepts {breaker.__name__}")
        print(f"   {breaker.__name__}: {found[0].splitlines()[0][:100]}")
    operations = sum(len(item) for item in document["paths"].values())
    print(f"valid: {len(document['paths'])} paths, {operations} operations, {len(document['components']['schemas'])} schemas")


main()
