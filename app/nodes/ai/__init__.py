"""Nodes that ask a model or an agent for text, or for what means alike."""

from app.nodes.ai import agents, judging, lens, searching, senses, writing

__all__ = ["agents", "judging", "lens", "searching", "senses", "writing"]
