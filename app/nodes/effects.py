"""Do something outside once: a node that runs again after a crash finds out what came of it before.

An effect is written down before it is begun and again when the other side has it. Whoever comes after a
crash in between can't know what happened. Where the other side tells repetitions apart by their key it is
done again; where it can be asked, what is found counts. Elsewhere the node fails as `outcome_unknown`,
unless it says `"onUnknown": "resend"`: a message too few is noticed and can be sent, one too many can't be
taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.platform import node_effects
from app.platform.node_effects import Effect, Standing
from app.workflow import NodeFailure
from app.workflow.values import JsonObject


class SendSettings(NodeSettings):
    """What every node that sends has: what follows when nobody knows whether it was sent."""

    on_unknown: Literal["fail", "resend"] = Field(default="fail", validation_alias=spelled("onUnknown"))


class Unsent(NodeFailure):
    """The other side certainly has nothing, so another try is not a repetition."""


def do_once(
    task: Task[Any],
    name: str,
    send: Callable[[], JsonObject],
    *,
    may_repeat: bool,
    find: Callable[[], JsonObject | None] | None = None,
    most_per_run: int | None = None,
) -> JsonObject:
    """The receipt of an effect: that of `send`, or the one that an earlier try of this node got.

    Parameters:
      name: what is done, as the database calls it.
      send: does it; raises `Unsent` when it certainly did not happen, another `NodeFailure` when it may
        have.
      may_repeat: whether doing it again is harmless, because the other side knows it by its key.
      find: asks the other side what came of an earlier try; with it, doing it again is harmless too.
      most_per_run: how many effects of this name a run may have.

    Raises `NodeFailure`: what `send` raised, or `outcome_unknown`, or `effect_limit`.
    """
    effect = Effect(task.run.run_id, task.node_id, name)
    begun = node_effects.begin(task.database, effect, most_per_run=most_per_run)
    if begun.standing is Standing.SENT:
        return begun.receipt
    if begun.standing is Standing.OVER_LIMIT:
        raise NodeFailure(f"effect_limit: a run may have {most_per_run} of '{name}'")
    receipt = find() if find and begun.standing is Standing.UNKNOWN else None
    if receipt is None:
        may_repeat = may_repeat or find is not None
        if begun.standing is Standing.UNKNOWN and not may_repeat:
            raise _unknown(name, "an earlier try was cut off")
        receipt = _send(task, effect, send, may_repeat)
    node_effects.keep_receipt(task.database, effect, receipt)
    return receipt


def _send(task: Task[Any], effect: Effect, send: Callable[[], JsonObject], may_repeat: bool) -> JsonObject:
    try:
        return send()
    except Unsent:
        node_effects.forget(task.database, effect)
        raise
    except NodeFailure as failure:
        if may_repeat:
            raise
        raise _unknown(effect.name, failure.error) from None


def _unknown(name: str, reason: str) -> NodeFailure:
    return NodeFailure(
        f"outcome_unknown: '{name}' may have been sent ({reason}); to send it again, "
        'set "onUnknown" to "resend" and retry the run'
    )
