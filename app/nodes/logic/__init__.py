"""Nodes that decide where a run goes: ways that part and meet, ends, and what to do about failures."""

from app.nodes.logic import branches, catching, code, ending, subflows

__all__ = ["branches", "catching", "code", "ending", "subflows"]
