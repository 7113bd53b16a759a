"""The server against its own description, by schemathesis: requests that fit it, and requests that do not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 12  # requests that fit, and as many that do not, for each route


@pytest.fixture(scope="module")
def described(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_server_does_what_it_describes(case):
    response = case.call_and_validate(
        excluded_checks=[
            schemathesis.checks.CHECKS.get_one("positive_data_acceptance")
        ]  # models have limits of their own
    )
    assert response.status_code < 500
