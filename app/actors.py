"""Entry point of `dramatiq app.actors`: set the broker, import the actors."""

import importlib

from app.boot import boot
from app.settings import settings

broker = boot()

if settings().lens_run_enabled:
    importlib.import_module("actors.lens_runs")
importlib.import_module("schedules.sweeps")
