"""Where `lf-worker dev` keeps its data and logs, in the folder it is started in."""

from pathlib import Path

STATE_FOLDER = Path(".lf-worker")
DATA_FOLDER = STATE_FOLDER / "data"
