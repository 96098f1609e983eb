"""All stand-ins on one port of 127.0.0.1, each below a path of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

from app.local.http.manners import Response
from app.local.http.scripts import Scripts
from app.local.http.server import Request, RespondingServer
from app.local.services.github import GitHub
from app.local.services.google import Calendar, Sheets
from app.local.services.google_oauth import CLIENT_ID, CLIENT_SECRET, GoogleOAuth
from app.local.services.notion import Notion
from app.local.services.trackers import Asana, Jira, Linear, Monday, Zapier
from app.local.services.wire import Answered, Asked, Service

#: Answers a request and then breaks the connection off: the caller can't know that it was heard.
LOST = "lost"

#: What a token that isn't honoured gets.
_UNAUTHORIZED = Answered(401, {"message": "Bad credentials"})
#: Services that want no token in a header.
_KEYLESS = ("google_oauth", "zapier")


class ServiceServer(RespondingServer):
    """The services; use it as a context manager.

    `asked` grows by one per request. `tokens` are the credentials that are honoured.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.tokens: set[str] = set()
        self.google_oauth = GoogleOAuth()
        self.github, self.notion, self.zapier = GitHub(), Notion(), Zapier()
        self.sheets, self.calendar = Sheets(), Calendar()
        self.linear, self.jira, self.asana, self.monday = Linear(), Jira(), Asana(), Monday()
        services: Sequence[Service] = (
            *(self.google_oauth, self.github, self.notion, self.zapier, self.sheets, self.calendar),
            *(self.linear, self.jira, self.asana, self.monday),
        )
        self._services = {service.name: service for service in services}
        self._scripts: Scripts[Answered | str] = Scripts()
        self._guard = threading.Lock()

    def root(self, service: str) -> str:
        """The root of a service's API."""
        return f"{self.origin}/{service}"

    def environment(self) -> dict[str, str]:
        """The environment variables that send a worker's requests here."""
        return {
            "WORKER_SERVICE_ROOTS": ",".join(f"{name}={self.root(name)}" for name in self._services),
            "WORKER_OUTBOUND_ALLOWED_HOSTS": self.address,
            "GOOGLE_OAUTH_CLIENT_ID": CLIENT_ID,
            "GOOGLE_OAUTH_CLIENT_SECRET": CLIENT_SECRET,
        }

    def script(self, service: str, answers: Sequence[Answered | str]) -> None:
        """Let the next requests to a service meet these answers, one each; `LOST` does what is asked."""
        self._scripts.add(service, answers)

    def asked_of(self, service: str, method: str | None = None) -> list[Asked]:
        """What a service was asked, in order."""
        with self._guard:
            return [a for a in self.asked if a.service == service and method in (None, a.method)]

    def respond(self, request: Request) -> Response:
        """Ask the service whose path it is, and give what it answers as JSON."""
        service, _, rest = request.path.removeprefix("/").partition("/")
        answered = self._answer(Asked(service, request.method, f"/{rest}", request.headers, request.body))
        if answered is None:
            return Response(200, manner="reset")
        body = b"" if answered.body is None else json.dumps(answered.body).encode()
        return Response(answered.status, body, headers=answered.headers)

    def _answer(self, asked: Asked) -> Answered | None:
        """The answer to a request; None where it shall get lost."""
        with self._guard:
            self.asked.append(asked)
            scripted = self._scripts.next(asked.service)
            if isinstance(scripted, Answered):
                return scripted
            service = self._services.get(asked.service)
            if service is None:
                return Answered(404, {"message": "no such service"})
            answered = service.answer(asked) if self._may(asked) else _UNAUTHORIZED
            return None if scripted == LOST else answered

    def _may(self, asked: Asked) -> bool:
        """Whether a request has a token that is honoured, to those that want one in a header."""
        if asked.service in _KEYLESS:
            return True
        return asked.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens
