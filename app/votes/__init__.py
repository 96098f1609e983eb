"""Finding votes that are not honest: pure functions over a window of a battle's votes."""

from app.votes.detection import detect
from app.votes.thresholds import Thresholds
from app.votes.verdicts import Action, decide
from app.votes.vote import Signal, Vote

__all__ = ["Action", "Signal", "Thresholds", "Vote", "decide", "detect"]
