"""Whether the faults were any."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Evidence


def faults_have_hit(evidence: Evidence) -> Iterator[str]:
    """A fault that befell nobody shows nothing."""
    for name, hits in evidence.ledger.hits().items():
        if not hits:
            yield f"{name} was never felt"
