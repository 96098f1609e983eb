"""Mails of nodes, by a mail server over TLS and by Resend."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from app.local.services.mail_server import PASSWORD, MailServer
from app.local.services.messengers import RESEND_KEY, Messengers
from app.platform.node_effects import Effect, begin
from app.workflow import Cause, NodeFailure
from tests.integration.nodes.conftest import Make
from tests.integration.nodes.world import a_run

MAIL = {
    "to": "ada@example.org, Grace <grace@example.org>",
    "subject": "Hello {{name}}",
    "bodyTemplate": "Dear {{name}},",
}
INPUTS = {"name": "Ada"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure_server(
    authority: trustme.CA, configure: Callable[..., None], messengers: Messengers, tmp_path: Path
) -> Iterator[MailServer]:
    """A mail server that takes nothing without TLS and a login, whose certificate is trusted."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with MailServer(context) as server:
        configure(
            WORKER_SMTP_URL=server.url,
            WORKER_OUTBOUND_ALLOWED_HOSTS="",
            RESEND_API_KEY="",
            SSL_CERT_FILE=str(tmp_path / "ca.pem"),
        )
        yield server


def test_a_mail_goes_out_over_tls_once_however_often_its_node_runs(
    make: Make, secure_server: MailServer
) -> None:
    node = make("email_send", inputs=INPUTS, **MAIL)
    first, second = node.give(), node.give()
    (mail,) = secure_server.mails
    assert (mail["To"], mail["Subject"]) == ("ada@example.org, grace@example.org", "Hello Ada")
    assert mail["From"] == "LenserFight <no-reply@lenserfight.example>"
    assert mail.get_content() == "Dear Ada,\r\n"
    assert first == second
    assert first["messageId"] == mail["Message-ID"]
    assert PASSWORD not in json.dumps(first)


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(
    make: Make, secure_server: MailServer, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NodeFailure, match=r"mail\.not_sent.*SSLCertVerificationError") as raised:
        make("email_send", inputs=INPUTS, **MAIL).give()
    assert raised.value.cause is Cause.PROVIDER_ERROR
    assert secure_server.mails == []


def test_a_server_without_tls_gets_nothing_unless_its_host_is_an_exception(
    make: Make, mail_server: MailServer, configure: Callable[..., None]
) -> None:
    settings = {**MAIL, "provider": "smtp"}
    make("email_send", inputs=INPUTS, **settings).give()
    configure(WORKER_OUTBOUND_ALLOWED_HOSTS="localhost")
    with pytest.raises(NodeFailure, match="STARTTLS extension not supported"):
        make("email_send", inputs=INPUTS, **settings).give()
    assert len(mail_server.mails) == 1


@pytest.mark.parametrize(
    ("answer", "cause"), [("451 4.3.0 try later", Cause.PROVIDER_ERROR), ("554 5.7.1 spam", None)]
)
def test_a_refused_mail_is_still_to_be_sent(
    answer: str, cause: Cause | None, make: Make, mail_server: MailServer
) -> None:
    mail_server.mishaps.append(answer)
    node = make("email_send", inputs=INPUTS, **MAIL, provider="smtp")
    with pytest.raises(NodeFailure, match=f"the server answered {answer[:3]}") as raised:
        node.give()
    assert raised.value.cause is cause
    node.give()
    assert len(mail_server.mails) == 1


def test_a_mail_whose_fate_is_unknown_is_not_sent_again_unless_that_is_wanted(
    make: Make, mail_server: MailServer
) -> None:
    mail_server.mishaps.append("drop")
    node = make("email_send", inputs=INPUTS, **MAIL, provider="smtp")
    for _ in range(2):
        with pytest.raises(NodeFailure, match="outcome_unknown"):
            node.give()
    assert len(mail_server.mails) == 1
    node.change(onUnknown="resend")
    node.give()
    first, second = mail_server.mails
    assert first["Message-ID"] == second["Message-ID"], "receivers can tell that it is the same mail"


def test_recipients_that_the_server_does_not_know_are_named(make: Make, mail_server: MailServer) -> None:
    mail_server.unknown.add("grace@example.org")
    assert make("email_send", inputs=INPUTS, **MAIL, provider="smtp").give()["refused"] == [
        "grace@example.org"
    ]
    mail_server.unknown.add("ada@example.org")
    with pytest.raises(NodeFailure, match="refused every recipient"):
        make("email_send", inputs=INPUTS, **MAIL, provider="smtp").give()


def test_resend_is_asked_again_with_the_same_key_and_sends_once(make: Make, messengers: Messengers) -> None:
    node = make("email_send", inputs=INPUTS, **MAIL)
    begin(node.database, Effect(node.run.run_id, node.node_id, "email"))
    messengers.script("/resend/emails", ["reset", "500"])
    for _ in range(2):
        with pytest.raises(NodeFailure) as raised:
            node.give()
        assert raised.value.cause is Cause.PROVIDER_ERROR
    given = node.give()
    assert node.give() == given
    assert messengers.messages["resend"] == ["Dear Ada,"]
    assert {request.headers["idempotency-key"] for request in messengers.requests} == {node.key}
    assert RESEND_KEY not in json.dumps(given)


def test_resends_own_words_are_given_without_the_key(
    make: Make, messengers: Messengers, configure: Callable[..., None]
) -> None:
    configure(RESEND_API_KEY="re_somebody_elses_key")
    with pytest.raises(NodeFailure, match=r"mail.status_401: invalid_api_key API key is invalid") as raised:
        make("email_send", inputs=INPUTS, **MAIL).give()
    assert raised.value.cause is None


def test_what_is_filled_into_html_is_no_html(make: Make, messengers: Messengers) -> None:
    node = make(
        "email_send", **{**MAIL, "format": "html", "bodyTemplate": "<b>{{name}}</b>"}, inputs={"name": "<i>"}
    )
    node.give()
    assert messengers.messages["resend"] == ["<b>&lt;i&gt;</b>"]


def test_a_subject_can_not_smuggle_in_a_header(make: Make, messengers: Messengers) -> None:
    with pytest.raises(NodeFailure, match="the subject has a line break"):
        make("email_send", inputs={"name": "x\r\nBcc: eve@example.org"}, **MAIL).give()
    assert messengers.requests == []


def test_a_run_sends_no_more_than_fifty_mails(
    make: Make, messengers: Messengers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nodes.messages.mail.MOST_MAILS_PER_RUN", 2)
    run = a_run()
    for _ in range(2):
        make("email_send", run=run, parent="hello", to="a@b.example", subject="s").give()
    with pytest.raises(NodeFailure, match="effect_limit"):
        make("email_send", run=run, parent="hello", to="a@b.example", subject="s").give()
    assert messengers.messages["resend"] == ["hello", "hello"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "to: Field required"),
        ({"to": "nobody"}, "to: Value error, something in it is not a mail address"),
        ({"to": "a@b.example\r\nBcc: eve@c.example", "subject": "s"}, "not a mail address"),
        ({"to": ",".join(f"a{n}@b.example" for n in range(51)), "subject": "s"}, "more than 50 addresses"),
        ({"to": "a@b.example", "subject": ""}, "subject"),
        ({"to": "a@b.example", "subject": "s", "provider": "smtp"}, "this deployment has no 'smtp'"),
        ({"to": "a@b.example", "subject": "s", "provider": "pigeon"}, "provider"),
    ],
)
def test_bad_settings_are_named_before_the_run_starts(
    settings: dict[str, str], problem: str, make: Make, messengers: Messengers
) -> None:
    assert problem in make("email_send", **settings).problems


@pytest.mark.parametrize(
    ("missing", "problem"),
    [("RESEND_API_KEY", "neither WORKER_SMTP_URL nor"), ("WORKER_MAIL_FROM", "WORKER_MAIL_FROM")],
)
def test_a_deployment_that_sends_no_mail_says_so_before_the_run_starts(
    missing: str, problem: str, make: Make, configure: Callable[..., None]
) -> None:
    configure(**{missing: ""})
    assert problem in make("email_send", **MAIL).problems, (
        "although its body is only known when the node runs"
    )
