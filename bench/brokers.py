"""Make the two brokers that are compared, each with its own defaults, and with the same middleware."""

from __future__ import annotations

from collections.abc import Iterable

from dramatiq import Middleware
from dramatiq.broker import Broker
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, ShutdownNotifications, TimeLimit
from dramatiq_pg import PostgresBroker

from app.broker import LeaseBroker, QueuePolicy
from app.database import Database
from app.settings import load_settings

STOCK = "stock"
OURS = "ours"


def build_broker(name: str, dsn: str, policies: dict[str, QueuePolicy] | None = None) -> Broker:
    """The stock broker, or ours with these policies, on a database."""
    if name == STOCK:
        return PostgresBroker(url=dsn, results=False, middleware=_middleware())
    configured = load_settings(database_url=dsn)
    pool = Database(
        dsn,
        max_connections=configured.database_pool_max_connections,
        wait_seconds=configured.database_pool_wait_seconds,
    )
    return LeaseBroker(pool, configured, policies=policies, middleware=_middleware())


def _middleware() -> Iterable[Middleware]:
    return [AgeLimit(), TimeLimit(), ShutdownNotifications(), Callbacks(), Pipelines(), Retries()]
