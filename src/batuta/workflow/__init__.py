"""Durable workflows: Python functions whose every step is recorded and can be replayed."""
