"""Files on the web, of hosts that are known."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from app.nodes.pasted import Hosts, Url
from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.nodes.web.answers import read_content
from app.nodes.web.outbound import complaint_about, fetch_document, target_of
from app.redaction import redact
from app.settings import settings
from app.texts.pasted import pasted_url
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

#: Whose files are read where a node names no domains; subdomains count, and so does the platform's own host.
DEFAULT_DOMAINS = ("supabase.co", "supabase.in", "lenserfight.com", "conectlens.com")


class File(NodeSettings):
    """The settings of a file to read; without a `url` it is the one that the first parent gave."""

    url: Url = ""
    allowed_domains: Hosts = Field(default_factory=list, validation_alias=spelled("allowedDomains"))


def _complaint(settings: File) -> str | None:
    return (
        (complaint_about(settings.url) or _complaint_about_domain(settings, settings.url))
        if settings.url
        else None
    )


@node_type(
    "file_reader",
    config=File,
    gives=("content", "mimeType", "bytes", "url", "encoding"),
    effect=Effect.READS,
    check=_complaint,
)
def read_file(task: Task[File]) -> Output:
    """Fetch a file of an allowed domain and give its content."""
    url = task.config.url or pasted_url(str(task.given.get("url") or task.text))
    found = _complaint_about_domain(task.config, url)
    if found:
        raise NodeFailure(found)
    response = fetch_document(task, url, "file")
    content = read_content(response)
    data: JsonObject = {
        "content": content.value,
        "mimeType": content.mime_type,
        "bytes": len(response.body),
        "url": redact(url),
        **({"encoding": content.encoding} if content.encoding else {}),
    }
    return Output(text=content.text, artifact_kind="json", data=data)


def _complaint_about_domain(config: File, url: str) -> str | None:
    own = urlsplit(settings().supabase_url).hostname
    domains = config.allowed_domains or [*DEFAULT_DOMAINS, *([own] if own else [])]
    host = f".{target_of(url).host}"
    if any(host.endswith(f".{domain.removeprefix('.')}") for domain in domains):
        return None
    return "host_not_allowlisted: the file's host is on none of the allowed domains"
