"""The check of budgets: does anybody know what the calls of their owners cost?"""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient


def check_budgets(patient: Patient) -> Iterator[Finding]:
    """Calls of owners with budgets came to a known end."""
    lost = patient.rows(
        """
        SELECT h.owner, count(*) AS calls, sum(h.usd) AS usd,
               extract(epoch FROM now() - min(h.taken_at)) / 60 AS minutes
        FROM worker.budget_holds h WHERE h.settled_at IS NULL AND h.expires_at < now()
        GROUP BY h.owner ORDER BY sum(h.usd) DESC LIMIT 5
        """
    )
    for row in lost:
        yield Finding(
            "budgets",
            Level.WARNING,
            f"{row['calls']} calls of {row['owner']}, the oldest {row['minutes']:.0f} min ago, outlived"
            f" their claim; {row['usd']:.4f} USD count as spent",
            "their workers died, or could not write what they cost; the money may be gone",
            "compare with the provider's bill; where it wasn't spent, raise the limit for this period:"
            f" lf-worker budgets set {row['owner']} --limit-usd …",
        )
    if not lost:
        count = patient.value("SELECT count(*) FROM worker.budgets")
        yield Finding("budgets", Level.FINE, f"{count} set" if count else "none set")
