"""A PostgreSQL server for the tests that kill servers on it."""

from tests.conformance.conftest import postgres_server

__all__ = ["postgres_server"]
