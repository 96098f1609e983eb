"""Checks of what the inspection of votes depends on."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient


def check_addresses(patient: Patient) -> Iterator[Finding]:
    """Voters' addresses are known from somewhere."""
    source = patient.value("SELECT worker.fn_vote_address_source()")
    if source or not patient.settings.vote_anomaly_enabled:
        yield Finding("votes", Level.FINE, f"addresses from {source}" if source else "inspection is off")
        return
    yield Finding(
        "votes",
        Level.WARNING,
        "no addresses of voters",
        "many votes from one address can't be told from others; the other signals work without",
        "let the worker's role read auth.sessions",
    )


def check_holds(patient: Patient) -> Iterator[Finding]:
    """No battle waits for somebody to look at its votes."""
    held = patient.rows("SELECT battle_id, reason FROM worker.held_battles ORDER BY held_at")
    for row in held:
        yield Finding(
            "votes",
            Level.WARNING,
            f"battle {row['battle_id']} is held: {row['reason']}",
            "its result waits until somebody has looked at its votes",
            f"resolve its anomalies, or SELECT worker.release_finalize_hold('{row['battle_id']}', 'name')",
        )
    if not held:
        yield Finding("votes", Level.FINE, "no battle is held")
