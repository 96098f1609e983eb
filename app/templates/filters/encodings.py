"""Filters that write and read HTML, URLs, Base64 and JSON; all take time in proportion to the text."""

from __future__ import annotations

import base64
import binascii
import html
import re
from urllib.parse import quote_plus, unquote_to_bytes

from app.templates.context import GuardedContext
from app.templates.filters.kinds import Filter
from app.templates.no_result import NoResultError
from app.templates.nodes import printed_text
from app.templates.values import json_pieces

_UNESCAPED = re.compile(r"[\"><']|&(?!(?:[a-zA-Z]+|#\d+);)", re.ASCII)
_BLOCK = re.compile(r"<script|<!--|<style")
_BLOCK_ENDS = {"<script": "</script>", "<!--": "-->", "<style": "</style>"}


def escape(value: object, *, context: GuardedContext) -> str | None:
    """HTML's special characters as entities."""
    return None if value is None else _escape(printed_text(value, context))


def escape_once(value: object, *, context: GuardedContext) -> str:
    """HTML's special characters as entities, except those of entities."""
    return _UNESCAPED.sub(lambda found: _escape(found[0]), printed_text(value, context))


def strip_html(value: object, *, context: GuardedContext) -> str:
    """Without tags and comments, and without scripts and styles and what is in them."""
    return _without_tags(_without_blocks(printed_text(value, context)))


def url_encode(value: object, *, context: GuardedContext) -> str | None:
    """As a part of a URL's query: `+` for a space."""
    return None if value is None else quote_plus(printed_text(value, context), errors="replace")


def url_decode(value: object, *, context: GuardedContext) -> str | None:
    """The text that `url_encode` has made this of."""
    if value is None:
        return None
    try:
        return unquote_to_bytes(_bytes(value, context).replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise NoResultError("the bytes are no text") from None


def base64_encode(value: object, *, context: GuardedContext) -> str:
    """The text's UTF-8 in Base64."""
    return base64.b64encode(_bytes(value, context)).decode()


def base64_decode(value: object, *, context: GuardedContext) -> str:
    """The text in Base64; bytes that aren't UTF-8 become U+FFFD."""
    return _decoded(_bytes(value, context))


def base64_url_safe_encode(value: object, *, context: GuardedContext) -> str:
    """The text's UTF-8 in Base64 with `-` and `_`."""
    return base64.urlsafe_b64encode(_bytes(value, context)).decode()


def base64_url_safe_decode(value: object, *, context: GuardedContext) -> str:
    """The text in Base64 with `-` and `_`, padded or not."""
    encoded = _bytes(value, context)
    padding = b"" if encoded.endswith(b"=") else b"=" * (-len(encoded) % 4)
    return _decoded((encoded + padding).translate(bytes.maketrans(b"-_", b"+/")))


def to_json(value: object, *, context: GuardedContext) -> str:
    """The JSON of any data; text is quoted and nil is `null`."""
    text = context.get_buffer()
    for piece in json_pieces(list(value) if isinstance(value, range) else value):
        text.write(piece)
    return text.getvalue()


def _escape(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;")


def _bytes(value: object, context: GuardedContext) -> bytes:
    return printed_text(value, context).encode(errors="replace")


def _decoded(encoded: bytes) -> str:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        decoded = b""
    if base64.b64encode(decoded) != encoded:  # the decoder overlooks bits that are left over
        raise NoResultError("the text is no Base64")
    return decoded.decode(errors="replace")


def _without_blocks(text: str) -> str:
    kept, position, unclosed = [], 0, set()
    for opening in _BLOCK.finditer(text):
        if opening.start() < position or opening[0] in unclosed:
            continue
        ends = _BLOCK_ENDS[opening[0]]
        end = text.find(ends, opening.end())
        if end < 0:
            unclosed.add(opening[0])  # so that the rest isn't searched again for each of them
            continue
        kept.append(text[position : opening.start()])
        position = end + len(ends)
    return "".join([*kept, text[position:]])


def _without_tags(text: str) -> str:
    kept, position = [], 0
    while (start := text.find("<", position)) >= 0 and (end := text.find(">", start)) >= 0:
        kept.append(text[position:start])
        position = end + 1
    return "".join([*kept, text[position:]])


FILTERS: dict[str, Filter] = {
    "base64_decode": base64_decode,
    "base64_encode": base64_encode,
    "base64_url_safe_decode": base64_url_safe_decode,
    "base64_url_safe_encode": base64_url_safe_encode,
    "escape": escape,
    "escape_once": escape_once,
    "h": escape,
    "json": to_json,
    "strip_html": strip_html,
    "url_decode": url_decode,
    "url_encode": url_encode,
}
