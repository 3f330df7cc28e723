"""The whole service against its own description, by values that are made up and by real names and numbers."""

from __future__ import annotations

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
REAL = {
    "name": "braai.sim1", "version": "70dff2148e15", "survey": "ztf", "alert_id": "17",
    "object_id": "ZTF260000007", "plane": "science",
}  # fmt: skip
# an answer without end, one that works for a minute, and one that says that it does not exist yet
APART = ("/api/v1/events", "/api/v1/classify/pair", "/api/v1/classify/spectra")
OURS = ("/api/v1/classify", "/v2", "/api/v1/models", "/api/v1/columns", "/api/v1/candidates",
"/api/v1/objects",
        "/api/v1/filters")  # fmt: skip
EXAMPLES = 4


def test_made_up_requests_find_no_fault_and_no_answer_that_is_not_described(running):
    schema = schemathesis.openapi.from_dict(running.app.openapi())
    schema.config.update(base_url=running.url)
    session = requests.Session()
    session.headers.update(running.headers)
    paths: set[str] = set()
    faults: list[str] = []
    n = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.startswith(OURS) or operation.path in APART:
            continue
        paths.add(operation.path)

        @settings(
            max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def one(case):
            nonlocal n
            for real in (False, True):
                if real:
                    if not case.path_parameters:
                        return
                    case.path_parameters = {
                        **case.path_parameters,
                        **{k: v for k, v in REAL.items() if k in case.path_parameters},
                    }
                n += 1
                answer = case.call(session=session)
                try:
                    case.validate_response(answer, checks=CHECKS)
                except BaseExceptionGroup as group:
                    faults.append(
                        f"{case.method} {answer.request.url} {answer.status_code}: {group.exceptions}"
                    )

        one()
    assert not faults, "\n".join(faults)
    assert len(paths) > 25
    assert n > 100
