"""Battles of the workflow's owner: writing them, contending, counting, judging and rating."""

from app.nodes.battles import contending, creating, judging, results, series

__all__ = ["contending", "creating", "judging", "results", "series"]
