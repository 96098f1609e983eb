"""What other servers answered, as a node's output."""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass
from email.message import Message

from pydantic import JsonValue

from app.http import Response
from app.texts.json_text import parse_json

#: Most bytes of a body that are kept; the stored output of a node holds it up to three times.
MOST_BODY_BYTES = 1024 * 1024

_TEXTS = ("text/", "application/json", "application/xml")
#: Byte order marks and what they say, whatever the header says; they are no part of the text.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

#: Headers that are nobody's business but the two servers'.
_UNTOLD_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization", "proxy-authenticate"})


@dataclass(frozen=True)
class Content:
    """A body: its text, or base64 of it where it is no text; and its value where it is JSON."""

    text: str
    value: JsonValue
    mime_type: str
    encoding: str | None = None


def read_content(response: Response) -> Content:
    """Read a body by its content type; JSON that can't be read, or was cut off, is text."""
    described = Message()
    described["Content-Type"] = response.headers.get("content-type", "")
    mime_type = described.get_content_type() if response.headers.get("content-type") else ""
    text = _decode(response, described.get_content_charset())
    if text is None:
        encoded = base64.b64encode(response.body).decode("ascii")
        return Content("", encoded, mime_type, "base64")
    value: JsonValue = text
    if mime_type == "application/json" or mime_type.endswith("+json"):
        parsed = parse_json(text)
        value = text if parsed is None and text.strip() != "null" else parsed
    return Content(text, value, mime_type)


def told_headers(response: Response) -> dict[str, JsonValue]:
    """The headers of a response that a workflow may see."""
    return {name: value for name, value in response.headers.items() if name not in _UNTOLD_HEADERS}


def _marked(response: Response) -> str | None:
    """What a byte order mark says a text is written in; of other files the mark of UTF-16 may be a part."""
    is_text = response.headers.get("content-type", "").lower().startswith(_TEXTS)
    marks = _MARKS.items() if is_text else [*_MARKS.items()][:1]
    return next((encoding for mark, encoding in marks if response.body.startswith(mark)), None)


def _encoding(charset: str | None) -> str:
    """The charset if it is one: Python has further codecs of that kind, which unpack and thus blow up."""
    try:
        "".encode(charset or "utf-8")
        b"".decode(charset or "utf-8")
    except (LookupError, ValueError):
        return "utf-8"
    return charset or "utf-8"


def _decode(response: Response, charset: str | None) -> str | None:
    """The body as text, None where it isn't text; a character that the limit cut through is left out."""
    decoder = codecs.getincrementaldecoder(_marked(response) or _encoding(charset))()
    try:
        text = decoder.decode(response.body, final=not response.is_truncated)
    except (UnicodeDecodeError, ValueError):
        return None
    return None if "\x00" in text else text
