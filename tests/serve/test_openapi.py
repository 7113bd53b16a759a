"""The server against its own description, by schemathesis: requests that fit it, and requests that do not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 10  # requests of each route that fit, and as many that do not
QUIET = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("fits", [True, False])
def test_the_server_does_what_it_describes(server, fits):
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    # A request may fit the description and not the model, as a text without a mask: then 4xx is right.
    ours = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]
    rejection = schemathesis.checks.CHECKS.get_one("negative_data_rejection")
    mode = schemathesis.GenerationMode.POSITIVE if fits else schemathesis.GenerationMode.NEGATIVE
    seen = {}
    for operation in described.get_all_operations():
        route = operation.ok()

        @QUIET
        @given(case=route.as_strategy(generation_mode=mode))
        def holds(case):
            response = case.call()
            too_much = [rejection] if response.status_code == 413 else []  # longer than described is refused, by 413
            case.validate_response(response, excluded_checks=[*ours, *too_much])
            assert response.status_code < 500
            seen.setdefault(case.operation.label, set()).add(response.status_code)

        try:
            holds()
        except Unsatisfiable:  # a route that takes nothing can't be asked wrongly
            assert not fits and route.label.startswith("GET ")
    posted = [statuses for label, statuses in seen.items() if label.startswith("POST ")]
    told = sum("post" in path for path in described.raw_schema["paths"].values())
    assert len(posted) == told >= 9 and any((200 if fits else 422) in statuses for statuses in posted)
