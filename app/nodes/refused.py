"""Types that are known and that no worker can do; a run with one of them does not start."""

from __future__ import annotations

from app.nodes.registry import refuse

refuse("has never had anything behind it", "media_convert")
refuse(
    "keeps nothing: use kv_store_read and kv_store_write, whose values stay for later runs",
    *("cache_read", "cache_write"),
)
refuse(
    "is no step of its own: set retry.attempts and retry.backoffMs on the node that is to be tried again",
    "retry",
)
refuse(
    "is no step of its own: use loop_map's concurrency, or wait_delay between two nodes",
    "rate_limit",
)
refuse(
    "would write a secret into the run's stored outputs: name a connectorRef on the node that needs it",
    "secret_resolver",
)
refuse("needs a vector store, which the platform has none of; use rag_retrieval", "vector_search")
refuse("has no device to push to: the platform keeps none", "push_notification")
refuse("needs a telephony provider, which the platform has none of; use email_send or a chat", "sms_send")
