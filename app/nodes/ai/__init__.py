"""Nodes that ask a model for text."""

from app.nodes.ai import lens

__all__ = ["lens"]
