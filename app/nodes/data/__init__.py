"""Nodes that compute with what came in: they look at nothing else and change nothing."""

from app.nodes.data import (
    aggregating,
    extracting,
    filtering,
    ordering,
    parsing,
    prompting,
    reshaping,
    splitting,
    variables,
)

__all__ = [
    "aggregating",
    "extracting",
    "filtering",
    "ordering",
    "parsing",
    "prompting",
    "reshaping",
    "splitting",
    "variables",
]
