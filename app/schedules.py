"""Entry point of `periodiq app.schedules`: set the broker, import the sweeps."""

import importlib
import math

from app.boot import boot
from app.settings import settings
from app.telemetry import report_queues

# A scheduler sits an outage out: ending would only have it started again.
broker = boot(enqueue_retry_seconds=math.inf)
report_queues(settings())

importlib.import_module("schedules.sweeps")
importlib.import_module("schedules.media")
if settings().battle_enabled:
    importlib.import_module("schedules.battles")
if settings().battle_auto_promote_enabled:
    importlib.import_module("schedules.promotion")
if settings().battle_finalize_enabled:
    importlib.import_module("schedules.finalizing")
if settings().webhook_drain_enabled:
    importlib.import_module("schedules.webhooks")
if settings().scheduled_workflow_enabled or settings().team_run_enabled:
    importlib.import_module("schedules.workflows")
