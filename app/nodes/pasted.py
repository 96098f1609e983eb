"""Kinds of settings that people paste: URLs, hosts, mail addresses and names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from app.http import OutboundRefusedError, read_target
from app.mail import MailRefusedError, read_addresses
from app.nodes.settings import Words
from app.texts.pasted import pasted_name, pasted_url, split_addresses


def _read_url(value: object) -> object:
    return pasted_url(value) if isinstance(value, str) else value


def _read_name(value: object) -> object:
    return pasted_name(value) if isinstance(value, str) else value


def _split(value: object) -> object:
    entries = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        return value
    return [part for entry in entries for part in split_addresses(entry)]


def _are_addresses(value: list[str]) -> list[str]:
    try:
        return read_addresses(value)
    except MailRefusedError as error:
        raise ValueError(str(error)) from None


def _as_host(entry: str) -> str:
    """The host, with its port if that is no usual one, of an entry that may be a whole URL."""
    try:
        return read_target(pasted_url(entry)).authority
    except OutboundRefusedError:
        return pasted_url(entry).lower()


def _as_origin(entry: str) -> str:
    try:
        target = read_target(pasted_url(entry))
    except OutboundRefusedError:
        return pasted_url(entry).lower().rstrip("/")
    return f"{target.scheme}://{target.authority}"


def named_in_url(*patterns: str) -> BeforeValidator:
    """Reads a name, or the URL of what it names: the first group of the first pattern that is found in it."""
    found = [re.compile(pattern) for pattern in patterns]

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        name = pasted_name(value)
        matches = (pattern.search(name) for pattern in found)
        return next((match[1] for match in matches if match), name)

    return BeforeValidator(read)


Url = Annotated[str, BeforeValidator(_read_url)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_read_url)]
Name = Annotated[str, BeforeValidator(_read_name)]
Addresses = Annotated[list[str], AfterValidator(_are_addresses), BeforeValidator(_split)]
Hosts = Annotated[Words, AfterValidator(lambda entries: [_as_host(entry) for entry in entries])]
Origins = Annotated[Words, AfterValidator(lambda entries: [_as_origin(entry) for entry in entries])]
