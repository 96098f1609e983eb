"""Single checks of the doctor, on the database of the test's settings."""

from __future__ import annotations

from contextlib import closing

from app.cli.doctor.finding import Check, Finding, Patient
from app.database import connect
from app.settings import load_settings


def findings_of(*checks: Check) -> list[Finding]:
    """What these checks find; `examine` makes all, which takes a second or two."""
    settings = load_settings()
    with closing(connect(settings.database_url.get_secret_value(), "lf-worker doctor")) as session:
        patient = Patient(session, settings)
        return [finding for check in checks for finding in check(patient)]
