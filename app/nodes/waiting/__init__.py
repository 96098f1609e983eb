"""Nodes that wait for a time or a person; meanwhile their run takes up no thread and no connection."""

from app.nodes.waiting import approvals, delays, forms

__all__ = ["approvals", "delays", "forms"]
