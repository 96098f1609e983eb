"""Nodes that ask a model for text."""

from app.nodes.ai import judging, lens, writing

__all__ = ["judging", "lens", "writing"]
