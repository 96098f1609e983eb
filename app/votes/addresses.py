"""Same-IP clusters: many voters behind one address, more of one mind than who else voted meanwhile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from app.votes import surprise
from app.votes.crowds import share
from app.votes.thresholds import Thresholds
from app.votes.vote import Signal, Vote

#: Who voted meanwhile: from so long before the first vote of the address to so long after its last.
MEANWHILE_SECONDS = 1_800.0


def find_clusters(votes: Sequence[Vote], limits: Thresholds) -> Iterator[Signal]:
    """One signal for each address with too many voters; none where no addresses are known.

    A campus, or the customers of a carrier, share an address too, but they vote like everybody else.
    """
    by_address: dict[str | None, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_address[vote.address].append(vote)
    at_home = by_address.pop(None, [])
    for group in by_address.values():
        if len(group) <= limits.honest_address_voters:
            at_home += group
    for address, group in by_address.items():
        if len(group) >= limits.least_votes:
            yield _judge(str(address), group, at_home, limits)


def _judge(address: str, group: Sequence[Vote], at_home: Sequence[Vote], limits: Thresholds) -> Signal:
    choice, agreeing = Counter(vote.choice for vote in group).most_common(1)[0]
    first, last = group[0].cast_at - MEANWHILE_SECONDS, group[-1].cast_at + MEANWHILE_SECONDS
    meanwhile = [vote for vote in at_home if first <= vote.cast_at <= last]
    without_history = sum(vote.choice == choice and vote.is_unknown for vote in group)
    usual = max(share(meanwhile, lambda vote: vote.choice == choice), limits.address_side_share)
    usual_both = max(
        share(meanwhile, lambda vote: vote.choice == choice and vote.is_unknown),
        limits.address_side_share * limits.address_unknown_share,
    )
    unlikely = max(
        surprise.of_share(agreeing, len(group), usual),
        surprise.of_share(without_history, len(group), usual_both),
    )
    return Signal(
        "shared_address",
        surprise.as_score(unlikely, limits.address_surprise),
        {
            "address": address,
            "voters": len(group),
            "choice": choice,
            "agreeing": agreeing,
            "without_history": without_history,
            "usual_share": round(usual, 3),
        },
        tuple(vote.voter_id for vote in group if vote.choice == choice),
    )
