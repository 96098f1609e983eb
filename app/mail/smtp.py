"""Hand a mail to a mail server, over TLS."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from app.errors import WorkerError
from app.http import AllowList
from app.mail.message import Mail
from app.redaction import remember_secret

_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}


class SmtpError(WorkerError):
    """The mail was not handed over, or nobody knows.

    `is_unsent` tells that the server certainly hasn't taken it, `is_transient` that it may take it later.
    """

    def __init__(self, message: str, *, is_unsent: bool, is_transient: bool) -> None:
        super().__init__(message)
        self.message = message
        self.is_unsent = is_unsent
        self.is_transient = is_transient


@dataclass(frozen=True)
class MailServer:
    """Where mails go; `may_be_plain` lets a server that offers no TLS be used, for development."""

    host: str
    port: int
    begins_with_tls: bool
    may_be_plain: bool
    user: str
    password: SecretStr

    @classmethod
    def parse(cls, url: SecretStr, allowed: AllowList) -> MailServer:
        """Read the URL of the settings; a host on the deployer's list of exceptions may do without TLS."""
        parts = urlsplit(url.get_secret_value().strip())
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
        password = unquote(parts.password or "")
        remember_secret(password)
        may_be_plain = allowed.allows_host(host, port)
        return cls(
            host,
            port,
            parts.scheme == "smtps",
            may_be_plain,
            unquote(parts.username or ""),
            SecretStr(password),
        )


def send_by_smtp(server: MailServer, mail: Mail, *, timeout_seconds: float) -> list[str]:
    """Hand the mail over and return the recipients that the server refused while taking the others.

    `timeout_seconds` bounds each step of the conversation. Raises `SmtpError`.
    """
    session, is_begun = None, False
    try:
        with _connected(server, timeout_seconds) as session:
            is_begun = True
            refused = session.send_message(
                mail.as_message(), from_addr=parseaddr(mail.sender)[1], to_addrs=mail.recipients
            )
            return sorted(refused)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise _refused("the server refused every recipient", min(codes, default=550)) from None
    except smtplib.SMTPResponseException as error:
        raise _refused(f"the server answered {error.smtp_code}", error.smtp_code) from None
    except smtplib.SMTPNotSupportedError as error:
        raise SmtpError(f"the server can't do it: {error}", is_unsent=True, is_transient=False) from None
    except (smtplib.SMTPException, ssl.SSLError, OSError) as error:
        reason = f"the conversation with the mail server broke off ({type(error).__name__})"
        raise SmtpError(reason, is_unsent=not is_begun, is_transient=True) from None


@contextmanager
def _connected(server: MailServer, timeout_seconds: float) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context()
    if server.begins_with_tls:
        session: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=timeout_seconds, context=context
        )
    else:
        session = smtplib.SMTP(server.host, server.port, timeout=timeout_seconds)
    try:
        if not server.begins_with_tls:
            session.ehlo()
            # Without TLS nobody's password or mail goes out; STARTTLS raises where it isn't offered.
            if session.has_extn("starttls") or not server.may_be_plain:
                session.starttls(context=context)
        if server.user:
            session.login(server.user, server.password.get_secret_value())
        yield session
    finally:
        # The mail is taken or refused by now; how the server says goodbye changes nothing.
        with suppress(smtplib.SMTPException, OSError):
            session.quit()
        session.close()


def _refused(message: str, code: int) -> SmtpError:
    return SmtpError(message, is_unsent=True, is_transient=400 <= code < 500)
