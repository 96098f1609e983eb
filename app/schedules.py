"""Entry point of `periodiq app.schedules`: set the broker, import the sweeps."""

import importlib

from app.boot import boot

broker = boot()

importlib.import_module("schedules.sweeps")
