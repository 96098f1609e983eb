"""Storage: values and memories that outlast a run, files, and questions to the platform's database."""

from app.nodes.storage import files, kv, memory, queries

__all__ = ["files", "kv", "memory", "queries"]
