"""Signatures as receivers check them: with the official libraries, and by the platform's own recipe."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhooks.delivery import Delivery, body_of
from app.webhooks.signing import headers_of, standard_key
from tests.unit.webhooks.examples import delivery


def now() -> datetime:
    """The time, which the official libraries compare with their own."""
    return datetime.now(UTC)


WHSEC = "whsec_" + base64.b64encode(b"twenty-four-bytes-at-least").decode()

secrets = st.one_of(
    st.text(min_size=16, max_size=80), st.binary(min_size=24, max_size=64).map(lambda raw: raw.hex())
).filter(lambda secret: not secret.startswith("whsec_"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(secret=secrets, payload=JSON, is_subscription=st.booleans())
def test_the_official_library_accepts_every_delivery(
    secret: str, payload: object, is_subscription: bool
) -> None:
    sent = delivery(payload=json.dumps(payload), battle_id=uuid4() if is_subscription else None)
    body = body_of(sent, now())
    headers = headers_of(sent, body, [secret], now())
    Webhook(secret.encode()).verify(body, headers)
    receivers_secret = "whsec_" + base64.b64encode(secret.encode()).decode()
    assert Webhook(receivers_secret).verify(body, headers) == json.loads(body)


@given(secret=secrets, body=st.binary(max_size=200).map(lambda raw: raw.hex().encode()))
def test_both_platform_headers_are_the_hmac_of_the_body(secret: str, body: bytes) -> None:
    expected = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    headers = headers_of(delivery(), body, [secret], now())
    assert headers["X-LF-Signature"] == headers["X-Lenserfight-Signature"] == expected


def test_the_headers_of_an_unsigned_delivery_are_exactly_these() -> None:
    sent, moment = delivery(), now()
    assert headers_of(sent, b"{}", [], moment) == {
        "Content-Type": "application/json",
        "webhook-id": str(sent.outbox_id),
        "webhook-timestamp": str(int(moment.timestamp())),
        "X-LF-Event-Type": "moderation_flagged",
        "X-LF-Delivery-Id": str(sent.outbox_id),
        "X-LF-Signature": "unsigned",
        "X-Lenserfight-Webhook": "moderation_flagged",
        "X-Lenserfight-Version": "1",
        "X-Lenserfight-Signature": "unsigned",
    }


def test_a_signed_delivery_has_one_header_more() -> None:
    sent = delivery()
    unsigned, signed = (headers_of(sent, b"{}", secrets, now()) for secrets in ([], ["s" * 16]))
    assert signed.keys() - unsigned.keys() == {"webhook-signature"}


def test_a_standard_secret_is_used_as_the_library_reads_it() -> None:
    headers = headers_of(delivery(), b"{}", [WHSEC], now())
    Webhook(WHSEC).verify(b"{}", headers)
    assert standard_key(WHSEC) == WHSEC


def test_while_secrets_change_either_verifies_and_no_other() -> None:
    headers = headers_of(delivery(), b"{}", ["the-new-secret-0123", "the-old-secret-0123"], now())
    for secret in (b"the-new-secret-0123", b"the-old-secret-0123"):
        Webhook(secret).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"another-secret-0123").verify(b"{}", headers)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_delivery_that_is_too_old_or_too_new_is_not_accepted(minutes: int) -> None:
    sent_at = datetime.now(UTC) + timedelta(minutes=minutes)
    headers = headers_of(delivery(), b"{}", ["a-secret-of-some-length"], sent_at)
    with pytest.raises(WebhookVerificationError, match="too"):
        Webhook(b"a-secret-of-some-length").verify(b"{}", headers)


def test_one_changed_byte_is_noticed() -> None:
    headers = headers_of(delivery(), b'{"a": 1}', ["a-secret-of-some-length"], now())
    with pytest.raises(WebhookVerificationError, match="No matching"):
        Webhook(b"a-secret-of-some-length").verify(b'{"a":1}', headers)


def test_every_attempt_has_the_same_id_and_its_own_time() -> None:
    sent, moment = delivery(), now()
    first = headers_of(sent, b"{}", ["a-secret-of-some-length"], moment)
    second = headers_of(sent, b"{}", ["a-secret-of-some-length"], moment + timedelta(hours=2))
    assert first["webhook-id"] == second["webhook-id"] == first["X-LF-Delivery-Id"] == str(sent.outbox_id)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 7200


def test_the_replaced_secret_of_the_platform_signs_only_the_platforms_rows() -> None:
    replaced = SecretStr("replaced-secret-0123")
    assert delivery(secrets=["new-secret-0123"]).live_secrets(replaced) == [
        "new-secret-0123",
        "replaced-secret-0123",
    ]
    assert delivery(secrets=["new-secret-0123"]).live_secrets(SecretStr("")) == ["new-secret-0123"]
    assert delivery(secrets=[]).live_secrets(replaced) == []
    subscribed = delivery(secrets=["own-secret-0123"], subscription_id=uuid4(), battle_id=uuid4())
    assert subscribed.live_secrets(replaced) == ["own-secret-0123"]


def test_no_secret_shows_in_a_printed_delivery() -> None:
    printed = repr(
        delivery(secrets=["very-secret-0123"], target_url="https://x.example/token-1", payload='"p"')
    )
    assert "very-secret" not in printed
    assert isinstance(delivery(), Delivery)


NODE = """
const { Webhook } = require("standardwebhooks");
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const { secret, body, headers } of cases) new Webhook(secret).verify(body, headers);
const { secret, body, headers } = cases[0];
try { new Webhook(secret).verify(body + " ", headers); process.exit(3); } catch (e) {}
console.log(cases.length);
"""


@pytest.fixture
def javascript(tmp_path: Path) -> Path:
    """A folder in which node finds the official library."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "standardwebhooks@1"]
    try:
        found = subprocess.run(install, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install standardwebhooks in time")
    if found.returncode:
        pytest.skip("npm can't install standardwebhooks here")
    return tmp_path


def test_the_official_javascript_library_accepts_them_too(javascript: Path) -> None:
    cases = []
    for secret, payload in [
        ("f" * 64, '{"a": "ö"}'),
        (WHSEC, "[]"),
        ("a-platform-secret-0123", '"\\u2028 ✓"'),
    ]:
        sent = delivery(payload=payload)
        body = body_of(sent, now())
        key = standard_key(secret)
        receivers = key if isinstance(key, str) else "whsec_" + base64.b64encode(key).decode()
        headers = headers_of(sent, body, ["another-live-secret-0123", secret], now())
        cases.append({"secret": receivers, "body": body.decode(), "headers": headers})
    ran = subprocess.run(
        ["node", "-e", NODE],
        cwd=javascript,
        input=json.dumps(cases).encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, b"3"), ran.stderr.decode()
