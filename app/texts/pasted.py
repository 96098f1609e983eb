"""Read URLs, mail addresses and names as the people meant them who pasted them into a field.

What is copied comes with blanks and marks that nobody sees, in angle brackets and quotes of all kinds, as a
link of Markdown or of a chat, and without the scheme that browsers hide. Whether the result may be used is
judged elsewhere, by what is read here and by nothing else.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import idna

#: Marks without width that are copied along: joiners, directions, soft hyphens, byte order marks.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_PAIRS = ('""', "''", "``", "<>", "“”", "„“", "„”", "‘’", "‚‘", "«»", "»«", "‹›")
_MOST_LAYERS = 4
#: Longer texts are no URL and no entry of a list of addresses that anybody pasted, and are left as they are.
_LONGEST_CHARACTERS = 8_192
_MARKS = ("{{", "[[")

_MARKDOWN_LINK = re.compile(r"!?\[[^\[\]]*\]\(\s*(\S+?)(?:\s+[\"'][^\"']*[\"'])?\s*\)")
_CHAT_LINK = re.compile(r"<([^<>|]+)\|[^<>|]*>")
_WRAPPED_LINE = re.compile(r"[ ]*[\t\r\n]+[ ]*")
_FEED = re.compile(r"feed:(?://)?(?=https?://)|feed(?=://)", re.IGNORECASE)
#: A name with a dot whose last label begins with a letter, and nothing that could be a user or a scheme.
_HOST = re.compile(r"(?:[^\s/?#:@\\.]+\.)+[^\W\d_][^\s/?#:@\\.]*(?::\d+)?(?=[/?#]|$)")
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#\\]*)(.*)", re.DOTALL)
_ASCII_HOST = re.compile(r"[a-z0-9.-]+")
#: Printable ASCII that may stand in a URL, or that is left for others to refuse.
_KEPT = "!#$%&'()*+,/:;=?@[\\]~"

_QUOTED = r'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f]){0,500}"|“[^“”\x00-\x1f]{0,500}”'
_ENTRY = re.compile(rf'{_QUOTED}|<[^<>]*>|[,;\n]|[^,;\n"“<]+|.', re.DOTALL)
_NAMED = re.compile(rf'(?:(?:{_QUOTED}) *|[^<>:;"\x00-\x1f]*)<(?P<address>[^<>]*)>')
_COMMENT = re.compile(r"\s+\([^()]*\)\s*$")


def unwrapped(text: str) -> str:
    """A text without what surrounds it: blanks, marks that nobody sees, and quotes or brackets in pairs."""
    for _ in range(_MOST_LAYERS):
        text = text.strip().strip("\u200b\u200e\u200f\u2060\ufeff").strip()
        inner = text[1:-1]
        if len(text) < 2 or text[0] + text[-1] not in _PAIRS or set(inner) & {text[0], text[-1]}:
            break
        text = inner
    return text


def pasted_name(text: str) -> str:
    """The name of a channel, a repository and the like."""
    return unwrapped(text)


def pasted_url(text: str) -> str:
    """A URL, with `https` where a host has no scheme, in ASCII; placeholders stay as they are.

    What isn't a URL comes back as it is, for others to refuse.
    """
    if len(text) > _LONGEST_CHARACTERS:
        return text.strip()
    text = _INVISIBLE.sub("", text).strip()
    url = unwrapped(text)
    link = _CHAT_LINK.fullmatch(text) or _MARKDOWN_LINK.fullmatch(url)
    if link:
        url = unwrapped(link[1])
    url = re.sub(r"(?i)^url:\s*", "", url)
    url = _FEED.sub(lambda match: "https" if match[0].lower() == "feed" else "", url, count=1)
    if url.startswith(_MARKS):
        return url
    url = _WRAPPED_LINE.sub("", url).replace("&amp;", "&")
    if url.startswith("//") or _HOST.match(url):
        url = f"https://{url.removeprefix('//')}"
    return url if any(mark in url for mark in _MARKS) else _in_ascii(url)


def split_addresses(text: str) -> list[str]:
    """The entries of a list of mail addresses, which commas, semicolons, lines or blanks divide."""
    entries = [""]
    for token in _ENTRY.finditer(_INVISIBLE.sub("", text)):
        if token[0] in ",;\n":
            entries.append("")
        else:
            entries[-1] += token[0]
    return [part for entry in entries for part in _spaced(entry) if part]


def pasted_address(entry: str) -> str:
    """The mail address of an entry such as `Ada <ada@example.org>` or `mailto:ada@example.org`.

    A group of RFC 5322, which would hide further recipients, comes back as it is, for others to refuse.
    """
    if len(entry) > _LONGEST_CHARACTERS:
        return entry
    entry = _COMMENT.sub("", _INVISIBLE.sub("", entry).strip()).rstrip(".,; ")
    link = _MARKDOWN_LINK.fullmatch(entry) or _CHAT_LINK.fullmatch(entry)
    entry = unwrapped(entry)
    named = _NAMED.fullmatch(entry)
    address = unwrapped(link[1] if link else named["address"] if named else entry)
    if address.lower().startswith("mailto:"):
        address = unquote(address[len("mailto:") :].partition("?")[0])
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{_ascii_host(domain)}" if at else address


def _spaced(entry: str) -> list[str]:
    entry = entry.strip()
    parts = entry.split()
    return parts if len(parts) > 1 and all("@" in part and "<" not in part for part in parts) else [entry]


def _in_ascii(url: str) -> str:
    parts = _PARTS.fullmatch(url)
    if parts is None:
        return url
    scheme, authority, rest = parts.groups()
    host, colon, port = authority.partition(":") if authority.count(":") == 1 else (authority, "", "")
    return f"{scheme}{_ascii_host(host)}{colon}{port}{quote(rest, safe=_KEPT)}"


def _ascii_host(host: str) -> str:
    """A host in the ASCII form of IDNA; what has none comes back as it is."""
    if host.isascii():
        return host
    try:
        found = idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return host
    return found if _ASCII_HOST.fullmatch(found) else host
