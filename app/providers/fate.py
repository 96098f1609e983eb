"""Whether a call that ended in an error may have been taken all the same, and so may have to be paid for."""

from __future__ import annotations

import httpx2

from app.errors import JobError
from app.providers import outcomes

#: The request never left, or left no trace: the provider can't have taken it.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)

#: A gateway answered in the provider's place and may have passed the request on.
_GATEWAY_STATUSES = frozenset({502, 504})


def may_be_taken(error: Exception) -> bool:
    """Whether the provider may have taken an order, or a question, although the call ended in an error.

    A response that refuses it, and a connection that never came to be, mean that it was not taken. Silence,
    a broken answer, and a gateway's word mean nothing.
    """
    for cause in outcomes.causes(error):
        if isinstance(cause, (JobError, *_NOT_SENT)):
            return False
        response = getattr(cause, "response", None)
        if isinstance(response, httpx2.Response):
            return response.status_code < 300 or response.status_code in _GATEWAY_STATUSES
    return True
