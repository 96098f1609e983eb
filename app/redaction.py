"""Masks keys and passwords in any text that leaves the process: messages, logs, Sentry events.

Two nets, because neither is enough alone: every secret this process has seen is masked wherever it turns
up, and whatever merely looks like a credential is masked even if nobody told us about it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from urllib.parse import quote, urlsplit

MASK = "[redacted]"

#: Secrets shorter than this are not remembered: masking them everywhere would shred ordinary words.
MIN_REMEMBERED_CHARS = 8

#: Shorter parts of a URL's path are words of its API.
MIN_TOKEN_CHARS = 16

#: How many secrets are remembered; the ones seen longest ago go first.
MAX_REMEMBERED = 512

_LOOKS_SECRET = re.compile(
    r"""
      (?P<scheme> \b Bearer \s+ ) [^\s"',;]+
    | (?P<userinfo> \b [a-z][a-z0-9+.\-]{0,20} :// [^\s:/@"']* : ) [^\s/"'<>]+ (?= @ )
    | (?P<name> (?<![a-z0-9_-]) [_-]* (?: [a-z0-9]+ [_-]+ )*
        (?: password | passwd | secret | api_?key | api-key | authorization | (?: access|auth )[_-]token )
        (?: \\? ["'] )? \s* [:=] \s* (?P<quote> \\? ["'] )? )
      (?(quote) (?: (?! (?P=quote) ) (?: \\. | . ) )+
        | (?: (?: Bearer | Basic | Key ) \s+ )? [^\s"',;&)}\]]+ )
    | (?P<query> [?&] (?: key | token ) = ) [^\s"'&\#]+
    | (?P<fal> \b Key \s+ ) [0-9a-f-]{32,36} : [0-9a-f]+
    | \b sk [-_] [A-Za-z0-9_*\-]{6,}
    | \b (?: whsec | sb_secret ) _ [A-Za-z0-9+/=_\-]{6,}
    | \b AIza [A-Za-z0-9_\-]{6,}
    | \b eyJ [A-Za-z0-9_\-]{8,} \. [A-Za-z0-9_\-]{8,} (?: \. [A-Za-z0-9_\-]+ )?
    """,
    re.VERBOSE | re.IGNORECASE,
)

_lock = threading.Lock()
_remembered: OrderedDict[str, tuple[str, ...]] = OrderedDict()


def remember_secret(value: str) -> None:
    """Mask this value from now on in every text that `redact` sees in this process.

    Values shorter than `MIN_REMEMBERED_CHARS` are ignored; beyond `MAX_REMEMBERED` the oldest is forgotten.
    """
    secret = value.strip()
    if len(secret) < MIN_REMEMBERED_CHARS:
        return
    with _lock:
        _remembered[secret] = _spellings(secret)
        _remembered.move_to_end(secret)
        while len(_remembered) > MAX_REMEMBERED:
            _remembered.popitem(last=False)


def remember_secret_url(url: str) -> None:
    """Mask a URL whose path is what lets one in, as with webhooks of chats: whole, and by its parts.

    Whoever is called sees only the path, and may quote it or the token that it ends in.
    """
    parts = urlsplit(url)
    for secret in (url, parts.path, *parts.path.split("/")):
        if len(secret) >= MIN_TOKEN_CHARS:
            remember_secret(secret)


def conceal(body: bytes, *secrets: str) -> bytes:
    """What somebody answered, without these secrets; everything else in it stays as it is."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for spelling in _spellings(secret):
            body = body.replace(spelling.encode(), MASK.encode())
    return body


def redact(text: str, *secrets: str) -> str:
    """Return `text` without the given secrets, the remembered ones, and whatever looks like a credential."""
    with _lock:
        known = [spelling for spellings in _remembered.values() for spelling in spellings]
    known += [spelling for secret in secrets if secret.strip() for spelling in _spellings(secret.strip())]
    # Longest first: a secret that contains another one must go as a whole.
    for spelling in sorted((each for each in known if each in text), key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return _LOOKS_SECRET.sub(_mask, text)


def _mask(found: re.Match[str]) -> str:
    """Keep what introduces a credential (a scheme, a name) and drop the credential."""
    return (found[found.lastgroup] if found.lastgroup else "") + MASK


def _spellings(secret: str) -> tuple[str, ...]:
    """The forms in which a secret shows up: plain, in a URL, in JSON, in a Python literal."""
    return tuple({secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]})
