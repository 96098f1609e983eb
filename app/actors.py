"""Entry point of `dramatiq app.actors`: set the broker, import the actors."""

import importlib

from app.boot import boot
from app.settings import settings

broker = boot()

if settings().lens_run_enabled:
    importlib.import_module("actors.lens_runs")
if settings().webhook_drain_enabled:
    importlib.import_module("actors.webhooks")
    importlib.import_module("schedules.webhooks")
if settings().battle_enabled:
    importlib.import_module("actors.battles")
    importlib.import_module("schedules.battles")
if settings().battle_auto_promote_enabled:
    importlib.import_module("schedules.promotion")
if settings().battle_finalize_enabled:
    importlib.import_module("schedules.finalizing")
if settings().scheduled_workflow_enabled:
    importlib.import_module("actors.workflow_runs")
if settings().team_run_enabled:
    importlib.import_module("actors.team_runs")
if settings().scheduled_workflow_enabled or settings().team_run_enabled:
    importlib.import_module("schedules.workflows")
if settings().run_event_transport == "rest":
    importlib.import_module("actors.run_events")
importlib.import_module("actors.media")
importlib.import_module("schedules.media")
if settings().vote_anomaly_enabled:
    importlib.import_module("actors.votes")
importlib.import_module("schedules.sweeps")
