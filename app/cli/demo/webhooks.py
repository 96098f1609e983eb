"""Webhooks in the demo: well-behaved endpoints, failing ones, and one that leads inside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg2
from psycopg2.extensions import connection
from psycopg2.sql import SQL, Identifier, Literal
from standardwebhooks import Webhook, WebhookVerificationError

from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.receiver import Received, Receiver
from app.local.seeds import seeded_id
from app.webhooks.signing import standard_key

#: What the worker needs in its environment so that it may send to the demo's own receiver, and soon again.
ENVIRONMENT = {"WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1", "WORKER_WEBHOOK_RETRY_DELAYS_SECONDS": "1,1"}

#: What the platform signs its own webhooks with.
PLATFORM_SECRET = "whsec_bG9jYWwtYW5kLW9mLW5vLXVzZS1lbHNld2hlcmU="  # noqa: S105 - of the demo's own database

_FIND = """
    SELECT o.id::text, d.state, o.attempts, o.last_error, d.endpoint,
           (SELECT extract(epoch FROM min(a.started_at) - o.created_at)::float * 1000
            FROM worker.webhook_attempts a WHERE a.outbox_id = o.id)
    FROM audit.webhook_outbox o LEFT JOIN worker.webhook_deliveries d ON d.outbox_id = o.id
    WHERE o.target_url = %s ORDER BY o.created_at
"""


@dataclass
class Case:
    """Equal webhooks to one endpoint; `error` begins the reason of those that must end as dead letters."""

    label: str
    path: str
    count: int = 1
    mishaps: tuple[str, ...] = ()
    attempts: int = 1
    error: str | None = None
    url: str = ""
    secret: str = field(default=PLATFORM_SECRET, repr=False)

    @property
    def outcome(self) -> str:
        """What comes out, in a few words."""
        if self.error:
            return f"given up: {self.error}"
        tries = f" at try {self.attempts}" if self.attempts > 1 else ""
        return f"delivered{tries}, signature valid"


class Webhooks:
    """Rows of the outbox and a battle's subscription, delivered to a receiver of the demo's own."""

    kind = "webhook_delivery"
    title = "Webhooks"
    story = "Events go to endpoints; each checks the signature as any receiver would."

    def __init__(self) -> None:
        self._receiver = Receiver()
        self._cases = [
            Case("an endpoint that fails twice", "/flaky", mishaps=("503", "reset"), attempts=3),
            Case("a healthy endpoint", "/healthy", count=5),
            Case("a battle's subscriber", "/battle"),
            Case("an endpoint that is gone (410)", "/gone", mishaps=("410",), error="webhook.gone"),
            Case("an address inside a network", "https://10.0.0.1/", error="http.refused_address"),
        ]

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Start the receiver, put rows into the outbox, and open a battle that somebody subscribed to."""
        self._receiver.__enter__()
        for case in self._cases:
            case.url = case.path if "://" in case.path else self._receiver.url(case.path)
            self._receiver.script(case.path, case.mishaps)
            with session.cursor() as tx:
                if case.path == "/battle":
                    case.secret = _open_battle(session, case.url)
                    continue
                tx.execute(
                    "INSERT INTO audit.webhook_outbox (event_type, payload, target_url)"
                    " SELECT 'approval_pending', jsonb_build_object('number', n), %s"
                    " FROM generate_series(1, %s) AS n",
                    (case.url, case.count),
                )

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each case is; what was delivered is checked at the receiver."""
        tallies = [self._tally(session, case) for case in self._cases]
        if all(tally.ended == tally.total for tally in tallies) and not self._receiver.closing.is_set():
            self._receiver.__exit__()
        return tallies

    def _tally(self, session: connection, case: Case) -> Tally:
        with session.cursor() as rows:
            rows.execute(_FIND, (case.url,))
            found = rows.fetchall()
        states = [state for _, state, *_ in found]
        surprises = [line for row in found if (line := self._surprise(case, row))]
        if len(found) != case.count:
            surprises.append(f"{len(found)} webhooks instead of {case.count}")
        return Tally(
            label=case.label,
            outcome=case.outcome,
            queued=states.count("waiting") + states.count(None),
            running=states.count("sending"),
            succeeded=states.count("delivered"),
            failed=states.count("dead"),
            surprises=tuple(surprises),
            pickups_ms=tuple(pickup_ms for *_, pickup_ms in found if pickup_ms is not None),
        )

    def _surprise(self, case: Case, row: tuple[str, str, int, str | None, str, float | None]) -> str | None:
        """How an ended webhook differs from what it should be, or None."""
        webhook_id, state, attempts, last_error, *_ = row
        if state in ("waiting", "sending", None):
            return None
        if (state == "dead") != bool(case.error) or not (last_error or "").startswith(case.error or ""):
            return f"{state} {last_error or ''}".strip()
        if attempts != case.attempts:
            return f"{attempts} attempts instead of {case.attempts}"
        requests = [request for request in list(self._receiver.requests) if request.id == webhook_id]
        if len(requests) != (attempts if "://" not in case.path else 0):
            return f"{len(requests)} requests came in"
        if not all(_is_signed(request, case.secret) for request in requests):
            return "its signature is wrong"
        return None


def sign_platform_webhooks(dsn: str) -> None:
    """Give the platform its secret, as a superuser; sessions that are opened from now on sign with it."""
    with closing(psycopg2.connect(dsn)) as session, session, session.cursor() as tx:
        tx.execute("SELECT current_database()")
        (name,) = tx.fetchone() or ("",)
        alter = SQL("ALTER DATABASE {} SET app.webhook_signing_secret = {}")
        tx.execute(alter.format(Identifier(name), Literal(PLATFORM_SECRET)))


def _open_battle(session: connection, url: str) -> str:
    """Subscribe to a draft and open it; returns the subscription's secret."""
    battle_id: UUID = uuid4()
    with session.cursor() as tx:
        tx.execute(
            "INSERT INTO battles.battles (id, creator_lenser_id, title, slug, task_prompt)"
            " VALUES (%s, %s, 'A battle to watch', %s, 'Say hello.')",
            (battle_id, seeded_id("person", "ada"), f"demo-{battle_id}"),
        )
        tx.execute(
            "SELECT worker.fn_battles_subscribe_webhook(%s, %s, ARRAY['status_change'])", (battle_id, url)
        )
        tx.execute("UPDATE battles.battles SET status = 'open' WHERE id = %s", (battle_id,))
        tx.execute(
            "SELECT secret_hmac FROM battles.battle_event_subscriptions WHERE battle_id = %s", (battle_id,)
        )
        (secret,) = tx.fetchone() or ("",)
    return str(secret)


def _is_signed(request: Received, secret: str) -> bool:
    try:
        Webhook(standard_key(secret)).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True
