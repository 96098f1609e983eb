"""How a battle stands and ends: votes, the winner, ratings."""

from __future__ import annotations

from app.nodes.battles.naming import OfBattle, battle_of
from app.nodes.registry import Effect, node_type
from app.nodes.task import Task
from app.platform import own_battles
from app.workflow import Output
from app.workflow.values import JsonObject, compact_json


@node_type(
    "vote_collector", config=OfBattle, gives=("battleId", "votesBySlot", "totalVotes"), effect=Effect.READS
)
def collect_votes(task: Task[OfBattle]) -> Output:
    """Give the votes of a battle."""
    battle_id = battle_of(task)
    votes = own_battles.count_votes(task.database, battle_id)
    data: JsonObject = {
        "battleId": str(battle_id),
        "votesBySlot": dict(votes),
        "totalVotes": sum(votes.values()),
    }
    return Output(text=compact_json(dict(votes)), artifact_kind="json", data=data)


@node_type(
    "score_aggregator",
    config=OfBattle,
    gives=("battleId", "finalized", "votesBySlot", "winnerId", "winnerSlot", "winnerName"),
    effect=Effect.WRITES,
)
def close(task: Task[OfBattle]) -> Output:
    """Close a battle whose voting has ended, and give its winner."""
    battle_id = battle_of(task)
    result = own_battles.finalize(task.database, task.run.run_id, battle_id)
    votes = own_battles.count_votes(task.database, battle_id)
    data: JsonObject = {**result, "finalized": True, "votesBySlot": dict(votes)}
    return Output(text=str(result.get("winnerName") or ""), artifact_kind="json", data=data)


@node_type(
    "leaderboard_update",
    config=OfBattle,
    gives=("battleId", "updated", "winnerId", "rating"),
    effect=Effect.WRITES,
)
def rate(task: Task[OfBattle]) -> Output:
    """Rate the contenders of a closed battle; what was rated before stands."""
    result = own_battles.rate(task.database, task.run.run_id, battle_of(task))
    rating = result.get("rating")
    is_new = not (isinstance(rating, dict) and rating.get("skipped"))
    return Output(text=compact_json(rating), artifact_kind="json", data={**result, "updated": is_new})
