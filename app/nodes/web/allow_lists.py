"""Which hosts a node's own settings let its requests go to.

A list in the settings is the whole truth. Without one the host must stand in the URL as its author wrote
it: a host that comes out of another node's output could be anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from pydantic import Field

from app.nodes.filling import filled_text, stored
from app.nodes.pasted import Hosts, Origins, Url
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.nodes.web.outbound import complaint_about, target_of
from app.texts.pasted import pasted_url
from app.workflow import NodeFailure
from app.workflow.values import stringify

_MARKS = ("[[", "{{")


class GuardedSettings(NodeSettings):
    """The URL of a request, and the hosts and origins to which it may go."""

    url: Url = Field(min_length=1, validation_alias=spelled("url", "endpoint"))
    allowlisted_hosts: Hosts = Field(
        default_factory=list, validation_alias=spelled("allowlistedHosts", "allowedHosts", "allowedDomains")
    )
    allowlisted_origins: Origins = Field(
        default_factory=list, validation_alias=spelled("allowlistedOrigins", "allowedOrigins")
    )

    def complaint_about_destination(self, headers: Mapping[str, str] | None = None) -> str | None:
        """What is wrong with the URL as it is written; one with placeholders is only known when filled."""
        if any(mark in self.url for mark in _MARKS):
            return None
        return complaint_about(self.url, headers) or self.complaint_about_host(self.url)

    def complaint_about_host(self, url: str) -> str | None:
        """Why a readable URL is outside the lists; None where it is inside, or where there are none."""
        if not self._has_lists:
            return None
        target = target_of(url)
        origin = f"{target.scheme}://{target.authority}"
        if {target.host, target.authority} & {*self.allowlisted_hosts} or origin in self.allowlisted_origins:
            return None
        return "host_not_allowlisted: the URL's host is on neither list of the node"

    def complaint_about_origin(self, raw: str) -> str | None:
        """Why a node without lists must not ask a host that is filled in; `raw` is its stored URL."""
        scheme, _, rest = raw.partition("://")
        if self._has_lists or not any(mark in scheme + rest.partition("/")[0] for mark in _MARKS):
            return None
        return "allowlist_required: a host that is filled in must be on the node's allowlistedHosts"

    @property
    def _has_lists(self) -> bool:
        return bool(self.allowlisted_hosts or self.allowlisted_origins)


def destination_of(task: Task[GuardedSettings]) -> str:
    """The node's URL, filled; raises `NodeFailure` for a host that its settings don't let it ask.

    What is put into a URL stays within its part of it, unless it is where the URL begins.
    """
    raw = pasted_url(stringify(stored(task, "url")))
    url = pasted_url(filled_text(task, "url", str if raw.startswith(_MARKS) else _quote))
    found = task.config.complaint_about_origin(raw) or task.config.complaint_about_host(url)
    if found:
        raise NodeFailure(found)
    return url


def _quote(text: str) -> str:
    return quote(text, safe="")
