"""Where suspicion begins and what follows from it, each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """The numbers that detection and moderation use.

    A surprise is the negative decimal logarithm of a probability: 6 is one in a million.
    """

    #: Surprises at which a score is 0.5; with each further one, half of what is missing to 1 is added. They
    #: are low because the shares below are what an honest crowd reaches at worst, not on average:
    #: among thousands of simulated honest battles next to none comes near.
    burst_surprise: float = 2.0
    address_surprise: float = 2.5
    metronome_surprise: float = 2.4
    drip_surprise: float = 1.0
    swarm_surprise: float = 3.0

    #: Fewer votes than this make no signal, however odd they look: a family or a class may be behind them.
    least_votes: int = 8

    #: In an honest rush one side's own followers may cast this share of the votes, whatever it was before.
    honest_side_share: float = 0.85
    #: ... and this share of an honest rush may be people whom nobody has seen in a battle.
    honest_unknown_share: float = 0.65

    #: ... and this share people who have signed up just now, to be able to vote.
    honest_new_share: float = 0.35

    #: Lengths of the windows that are looked at for a burst: a script's seconds up to hired people's quarter.
    burst_windows_seconds: tuple[float, ...] = (20.0, 120.0, 900.0)
    #: A burst has this many times the votes that the hours around it let expect.
    burst_rate_ratio: float = 3.0

    #: Up to this many voters share one address in the normal course of things, such as a household's.
    honest_address_voters: int = 4
    #: Those at one address know each other, so they agree more than strangers even where sides are even.
    address_side_share: float = 0.65
    #: ... and new to battles together, because one of them told the others.
    address_unknown_share: float = 0.5

    #: Gaps of a script may differ by this share of the gap: timers are exact, and networks nearly so.
    metronome_jitter: float = 0.06
    #: Gaps of a script that tries to look human differ up to this much.
    drip_jitter: float = 0.4
    #: A drip keeps its pace for this long; whoever waits less between votes is a metronome or a burst.
    drip_shortest_seconds: float = 5_400.0

    #: An account is new for this long; nobody signs up only to vote once in that many battles.
    new_account_seconds: float = 3600.0
    #: New accounts that vote within this time of each other acted together.
    swarm_window_seconds: float = 600.0

    #: The platform's own reasons say something about a voter, but nothing about a crowd.
    platform_weight: float = 0.4

    #: From here on the voters are flagged for review and their votes marked.
    flag_score: float = 0.5
    #: From here on the battle is flagged by a moderation decision, and its owner is told.
    decision_score: float = 0.75
    #: From here on votes are marked as excluded, and the result waits for a person.
    hold_score: float = 0.9
