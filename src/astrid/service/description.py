"""The description of the interface (OpenAPI), with the refusals that any route can meet.

A route tells of its own by `responses` of `errors`; what is refused before a route is asked is added here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from astrid.service.errors import ProblemBody, responses

__all__ = ["describe"]

_ANY = (401, 403, 421, 503, 504)
_WITH_BODY = (400, 408, 413)
_FRAMEWORK = ("HTTPValidationError", "ValidationError")
_UNSAFE = ("post", "put", "patch", "delete")


def describe(app: FastAPI) -> None:
    """Complete the description of an application; it is made when it is first asked for.

    Parameters
    ----------
    app : FastAPI
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(FastAPI.openapi(app))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(schema: dict[str, Any]) -> dict[str, Any]:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["ProblemBody"] = ProblemBody.model_json_schema()
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token of an account."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-astrid",
            "description": "Of a browser that has logged in; what changes something sends X-CSRF-Token too.",
        },
    }
    schema["security"] = [{"token": []}, {"session": []}]
    for methods in schema.get("paths", {}).values():
        for method, facts in methods.items():
            told = facts["responses"]
            for status in [one for one in told if one >= "400"]:
                told[status] = {**told[status], **_keyed(int(status))[status]}
            for status, one in _keyed(*_ANY, *(_WITH_BODY if method in _UNSAFE else ())).items():
                told.setdefault(status, one)
    for name in _FRAMEWORK:
        schemas.pop(name, None)
    return schema


def _keyed(*statuses: int) -> dict[str, Any]:
    return {str(status): one for status, one in responses(*statuses).items()}
