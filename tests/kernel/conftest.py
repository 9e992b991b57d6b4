"""A PostgreSQL server for the tests of its journal."""

from tests.conformance.conftest import postgres_server

__all__ = ["postgres_server"]
