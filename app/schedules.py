"""Entry point of `periodiq app.schedules`: set the broker, import the sweeps."""

import importlib
import math

from app.boot import boot

# A scheduler sits an outage out: ending would only have it started again.
broker = boot(enqueue_retry_seconds=math.inf)

importlib.import_module("schedules.sweeps")
