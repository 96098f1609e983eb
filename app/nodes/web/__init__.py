"""What a workflow asks of other servers, and tells them."""

from app.nodes.web import feeds, files, graphql, requests, webhooks

__all__ = ["feeds", "files", "graphql", "requests", "webhooks"]
