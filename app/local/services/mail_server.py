"""A local mail server that keeps what it gets, for the demo and the tests."""

from __future__ import annotations

import socket
import ssl
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Self, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "worker", "local-planted-password"


class MailServer:
    """A mail server on a loopback address; use it as a context manager.

    With a `tls` context it takes mails only after STARTTLS and a login, else anybody's in plain.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.mails: list[EmailMessage] = []
        #: What the next mails are answered, one each; `drop` takes a mail and hangs up without an answer.
        self.mishaps: list[str] = []
        #: Recipients that are refused.
        self.unknown: set[str] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._has_tls = tls is not None
        self._controller = _Controller(self, self._socket, tls)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
        self._socket.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The worker's WORKER_SMTP_URL."""
        place = f"{USER}:{PASSWORD}@localhost" if self._has_tls else "127.0.0.1"
        return f"smtp://{place}:{self.port}"

    async def handle_RCPT(  # noqa: N802 - the framework's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the framework's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Keep a mail, or meet it with a mishap."""
        mishap = self.mishaps.pop(0) if self.mishaps else "250 OK"
        if mishap == "drop" or mishap.startswith("250"):
            parsed = message_from_bytes(cast(bytes, envelope.content), policy=default)
            self.mails.append(parsed)
        if mishap == "drop":
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]  # asyncio's transports have it
        return mishap

    def authenticate(self, *arguments: Any) -> AuthResult:
        """Let the one user in."""
        given = arguments[-1]
        known = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=given == known, handled=False)


class _Controller(Controller):
    """Serves on a socket that is already bound, so that nobody else can take its port."""

    def __init__(self, owner: MailServer, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        super().__init__(
            owner,
            hostname="127.0.0.1",
            port=listener.getsockname()[1],
            tls_context=tls,
            require_starttls=tls is not None,
            auth_required=tls is not None,
            authenticator=owner.authenticate,
        )

    def _create_server(self) -> Any:
        return self.loop.create_server(self._factory_invoker, sock=self._listener)
