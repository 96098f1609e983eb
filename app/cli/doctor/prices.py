"""The check of prices: does anybody know what calls cost?"""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient

#: How many models without a price are named.
MOST_MODELS = 5


def check_prices(patient: Patient) -> Iterator[Finding]:
    """What is asked for has a price."""
    rows = patient.rows("SELECT * FROM worker.unpriced_models(now() - interval '1 day')")
    if not rows:
        yield Finding("prices", Level.FINE, "every model that was called since yesterday has one")
        return
    named = ", ".join(f"{row['provider']}/{row['model']}" for row in rows[:MOST_MODELS])
    more = f" and {len(rows) - MOST_MODELS} more" if len(rows) > MOST_MODELS else ""
    yield Finding(
        "prices",
        Level.WARNING,
        f"{sum(row['calls'] for row in rows)} calls since yesterday have no cost: {named}{more}",
        "these models have no price: their calls are in no sum, and owners with a budget can't ask them",
        "lf-worker prices export > prices.csv; add them; lf-worker prices import prices.csv",
    )
