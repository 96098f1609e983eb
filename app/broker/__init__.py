"""The broker: Dramatiq messages in Postgres, held by lease. `broker.py` tells the whole story."""

from app.broker.broker import ENQUEUE_RETRY_SECONDS as ENQUEUE_RETRY_SECONDS
from app.broker.broker import LeaseBroker as LeaseBroker
from app.broker.deliveries import Delivery as Delivery
from app.broker.deliveries import QueuePolicy as QueuePolicy
