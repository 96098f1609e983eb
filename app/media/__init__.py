"""Media of jobs: made once by a provider, asked for until they are there, checked, kept, and handed in.

`make` begins it for a claimed job, `delegate` does the same with Chainabit, and `collect` goes on with a
task that a provider works on.
"""

from app.media.collecting import collect
from app.media.errands import delegate, make

__all__ = ["collect", "delegate", "make"]
