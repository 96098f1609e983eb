"""The rules of working together, without any input or output: who speaks next, about what, and what counts.

    team = Team.gather(members, alone, is_gated)
    match what_next(team, said, approved=…, most_rounds=…):
        case Speak(turns): …          # have each said, at once; then ask again
        case Accepted(turns): …       # what they said is the result
        case Rejected(reason): …      # sent back too often
        case PersonNeeded(turn, reason): …

What was said is all that counts, so a discussion goes on from its minutes as if it had never stopped.
"""

from app.teams.assignment import Part, assign
from app.teams.discussion import Accepted, Next, PersonNeeded, Rejected, Speak, visible_turns, what_next
from app.teams.members import Member, Role, Team
from app.teams.reviews import Review, ReviewVerdict, read_review
from app.teams.tasks import SharedTask, read_task
from app.teams.turns import Turn, TurnKey, TurnKind
from app.teams.words import persona_of, result_of, review_prompt, turn_prompt, with_feedback

__all__ = [
    "Accepted",
    "Member",
    "Next",
    "Part",
    "PersonNeeded",
    "Rejected",
    "Review",
    "ReviewVerdict",
    "Role",
    "SharedTask",
    "Speak",
    "Team",
    "Turn",
    "TurnKey",
    "TurnKind",
    "assign",
    "persona_of",
    "read_review",
    "read_task",
    "result_of",
    "review_prompt",
    "turn_prompt",
    "visible_turns",
    "what_next",
    "with_feedback",
]
