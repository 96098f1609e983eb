"""The executor of workflows: it drives the pure engine of `app.workflow` with threads, a database and models.

`execute` takes a run that is held to its end. One thread runs its loop and is the only one that writes; each
try of a node has a thread of its own, and one more says that the run is alive.
"""

from app.engine.execution import execute
from app.engine.summary import Ending
from app.engine.tries import RunStopped

__all__ = ["Ending", "RunStopped", "execute"]
