"""Metrics: aggregates over tasks and seeds, and what representations and world models have learned."""
