"""Google's token endpoint: new access tokens for refresh tokens that it knows."""

from __future__ import annotations

from itertools import count

from app.local.services.wire import Answered, Asked

CLIENT_ID = "local-client.apps.googleusercontent.com"
CLIENT_SECRET = "GOCSPX-local-0123456789abcdef"  # noqa: S105 - opens nothing


class GoogleOAuth:
    """The endpoint; `refresh_tokens` are those that it honours, `issued` the access tokens it gave."""

    name = "google_oauth"

    def __init__(self) -> None:
        self.refresh_tokens: set[str] = set()
        self.issued: list[str] = []
        #: What an answer says of scopes; Google leaves them out where they are unchanged.
        self.scope: str | None = None
        self._numbers = count(1)

    def answer(self, asked: Asked) -> Answered:
        """Give a token for an hour, or say why not (RFC 6749, 5.2)."""
        form = asked.form
        if (asked.method, asked.path) != ("POST", "/token") or form.get("grant_type") != "refresh_token":
            return Answered(400, {"error": "unsupported_grant_type"})
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return Answered(401, {"error": "invalid_client", "error_description": "Unauthorized"})
        if form.get("refresh_token") not in self.refresh_tokens:
            return Answered(400, {"error": "invalid_grant", "error_description": "Token has been revoked."})
        self.issued.append(f"ya29.local-refreshed-{next(self._numbers):04}-0123456789")
        tokens = {"access_token": self.issued[-1], "expires_in": 3599, "token_type": "Bearer"}
        return Answered(200, tokens | ({"scope": self.scope} if self.scope else {}))
