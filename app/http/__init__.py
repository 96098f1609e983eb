"""Requests to hosts that a user names: `guarded.py` is the one way out of this process for them."""

from app.http.allow_list import AllowList as AllowList
from app.http.failures import OutboundError as OutboundError
from app.http.failures import OutboundFailedError as OutboundFailedError
from app.http.failures import OutboundRefusedError as OutboundRefusedError
from app.http.guarded import GuardedClient as GuardedClient
from app.http.guarded import Response as Response
from app.http.guarded import guarded_client as guarded_client
from app.http.target import Target as Target
from app.http.target import read_target as read_target
