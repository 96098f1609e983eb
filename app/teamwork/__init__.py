"""Team runs: members take their turns by the rules of `app.teams`, and what they say is kept at once.

A turn that is finished stands in the run's steps, so an attempt goes on after it and never takes it again.
"""

from app.teamwork.ending import PersonAsked, TeamEnding
from app.teamwork.shared_tasks import discuss
from app.teamwork.workflows import execute_workflow

__all__ = ["PersonAsked", "TeamEnding", "discuss", "execute_workflow"]
