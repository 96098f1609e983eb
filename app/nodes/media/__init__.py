"""Nodes whose model makes a medium, or a medium of another one."""

from app.nodes.media import changing, making

__all__ = ["changing", "making"]
