"""Media of jobs: made once by a provider, asked for until they are there, checked, kept, and handed in.

`make` begins it for a claimed job, `delegate` does the same with Chainabit, `hand_in_kept` writes what an
earlier attempt has had made, `collect` goes on with a task that a provider works on, and `load` gets a medium
that somebody names.
"""

from app.media.collecting import collect
from app.media.errands import delegate, make
from app.media.handing_in import hand_in_kept
from app.media.loading import load

__all__ = ["collect", "delegate", "hand_in_kept", "load", "make"]
