"""Checks of what jobs need: provider keys, and templates that can be read."""

from __future__ import annotations

from collections.abc import Iterator

from app import sandbox, telemetry
from app.cli.doctor.finding import Finding, Level, Patient
from app.errors import GiveUp
from app.providers import needs_key, platform_key
from app.templates import needs_liquid, render_liquid

#: Newest templates that are tried.
MAX_TEMPLATES = 2_000
#: Findings about templates that are listed one by one.
MAX_LISTED = 10


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Each active provider that needs a platform key has one."""
    active = patient.rows(
        """
        SELECT DISTINCT p.key FROM ai.providers p JOIN ai.models m ON m.provider_id = p.id
        WHERE p.is_active AND m.is_active AND p.support_level = 'runnable'
          AND 'text' = ANY (m.output_modalities)
        ORDER BY 1
        """
    )
    missing = [
        row["key"]
        for row in active
        if needs_key(row["key"]) and platform_key(row["key"], patient.settings) is None
    ]
    if missing:
        yield Finding(
            "keys",
            Level.WARNING,
            f"no platform key for {', '.join(missing)}",
            "runs that are not paid with their owner's key fail with key.missing",
            "set the provider's variable of .env.example",
        )
    else:
        yield Finding("keys", Level.FINE, f"present for {len(active)} active providers")


def check_telemetry(patient: Patient) -> Iterator[Finding]:
    """Where spans and metrics are wanted, they can be made."""
    endpoint = patient.settings.otel_endpoint
    if endpoint and not telemetry.is_installed():
        yield Finding(
            "telemetry",
            Level.WARNING,
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed",
            "no spans and no metrics are sent",
            "pip install 'lf-worker[otel]'",
        )
    else:
        yield Finding("telemetry", Level.FINE, f"goes to {endpoint}" if endpoint else "off")


def check_sandbox(patient: Patient) -> Iterator[Finding]:
    """JavaScript of workflow nodes can be isolated, if it is to be run."""
    is_on = patient.settings.code_runner != "off"
    hindrance = sandbox.hindrance() if is_on else None
    if hindrance:
        yield Finding(
            "code nodes",
            Level.WARNING,
            hindrance,
            "every run with a code node fails before it starts",
            "install bubblewrap and node, allow user namespaces, or set WORKER_CODE_RUNNER=off",
        )
    else:
        yield Finding("code nodes", Level.FINE, "run in a sandbox" if is_on else "off")


def check_templates(patient: Patient) -> Iterator[Finding]:
    """Published lens templates that use Liquid can be parsed."""
    broken = []
    rows = patient.rows(
        """
        SELECT v.id, v.template_body FROM lenses.versions v
        WHERE v.status = 'published' ORDER BY v.created_at DESC LIMIT %s
        """,
        (MAX_TEMPLATES,),
    )
    for row in rows:
        if needs_liquid(row["template_body"]):
            try:
                render_liquid(row["template_body"], {})
            except GiveUp as error:
                if error.code == "template.syntax":
                    broken.append((row["id"], error.message))
    for version, message in broken[:MAX_LISTED]:
        yield Finding(
            "templates",
            Level.WARNING,
            f"lens version {version}: {message}",
            "every run of it fails with template.syntax",
            "have its author publish a corrected version",
        )
    if not broken:
        yield Finding("templates", Level.FINE, f"{len(rows)} published ones looked at")
