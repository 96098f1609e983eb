"""A Postgres DSN as people paste it from dashboards and guides: Supabase, Heroku, Fly, Prisma and others.

Every form is turned into the one URI that libpq takes as it is meant. The others are refused with one line
that names the part at fault and holds no secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

import psycopg2
from psycopg2.extensions import parse_dsn

#: What libpq calls it -> what .NET and JDBC call it, in lower case.
_OTHER_KEYWORDS = {
    "user id": "user",
    "userid": "user",
    "username": "user",
    "uid": "user",
    "pwd": "password",
    "server": "host",
    "data source": "host",
    "database": "dbname",
    "ssl mode": "sslmode",
}

#: Parameters for other clients: Prisma, SQLAlchemy, JDBC, asyncpg, node-postgres, .NET, Vercel.
_FOREIGN = {
    *("pgbouncer", "connection_limit", "pool_timeout", "schema", "socket_timeout", "sslaccept"),
    *("pool_size", "max_overflow", "currentschema", "preparethreshold", "statement_cache_size"),
    *("uselibpqcompat", "pooling", "maximum_pool_size", "trust_server_certificate", "supa"),
}

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: What other clients write for TLS -> what libpq has for it.
_OTHER_SSL = {"true": "require", "1": "require", "no-verify": "require", "false": "disable", "0": "disable"}

_ASSIGNMENT = re.compile(
    r"(?:export\s+)?[A-Z][A-Z0-9_]*\s*=\s*(?=[\"']?(?:jdbc:)?(?:[a-z+0-9]+://|host=|user=))"
)
_SCHEME = re.compile(r"(?:jdbc:)?(?:postgres|postgresql|postgis|pgsql)(?:\+\w+)?://", re.IGNORECASE)
_KEYWORDS = re.compile(r"\s*(?:host|hostaddr|user|password|dbname|port|service)\s*=", re.IGNORECASE)
_AFTER_USER = re.compile(
    r"(?P<hosts>(?:\[[0-9a-f:.%]+\]|[\w.%-]*)(?::[^/?#@,]*)?(?:,(?:\[[0-9a-f:.%]+\]|[\w.%-]+)(?::[^/?#@,]*)?)*)"
    r"(?:/(?P<dbname>[^?#]*))?(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\[.*\]|<.*>|_*your[-_ ]?(?:db[-_ ]?)?password_*|__password__", re.IGNORECASE)


@dataclass
class _Parts:
    """A DSN taken apart; nothing is percent-encoded. `hosts` is as in a URI, with ports."""

    hosts: str
    dbname: str
    user: str
    password: str
    raw_password: str
    parameters: dict[str, str] = field(default_factory=dict)


def read_dsn(pasted: str) -> str:
    """The URI that a pasted DSN means: postgresql://user:password@host:port/dbname?parameters.

    Takes URIs with or without what belongs to other clients, passwords whose special characters are not
    percent-encoded, keywords and values (`host=… user=…`), JDBC and .NET. Raises ValueError with one line.
    """
    text = _ASSIGNMENT.sub("", pasted.strip("\ufeff \t\r\n"), count=1)
    if text.startswith("psql "):
        text = text.removeprefix("psql ").strip()
    text = text.strip().strip("\"'`;").strip()
    parts = _take_apart(text)
    _check_people(parts)
    _check_hosts(parts)
    parts.parameters = _translated(parts.parameters)
    return _put_together(parts)


def _take_apart(text: str) -> _Parts:
    scheme = _SCHEME.match(text)
    if scheme:
        return _from_uri(text[scheme.end() :])
    if _KEYWORDS.match(text):
        return _from_keywords(text)
    if ";" in text and "=" in text:
        pairs = [pair.partition("=") for pair in text.split(";") if pair.strip()]
        return _from_pairs([(name, value.strip()) for name, _, value in pairs])
    if text.startswith(("prisma://", "prisma+postgres://")):
        raise ValueError("is an address of Prisma Accelerate; the database's own begins with postgresql://")
    if text.startswith(("http://", "https://")):
        raise ValueError("is an address of an API; the database's own begins with postgresql://")
    if text.startswith("-"):
        raise ValueError("holds the options of psql; the dashboard has a URI as well: paste that")
    raise ValueError("must begin with postgres:// or postgresql://")


def _from_uri(rest: str) -> _Parts:
    """From the last @ that a host can follow back to the user: a password may hold @, :, /, ? and #."""
    for at in (*[found.start() for found in re.finditer("@", rest)][::-1], -1):
        after = _AFTER_USER.fullmatch(rest[at + 1 :])
        if after:
            break
    else:
        raise ValueError("the host can't be read: percent-encode special characters of the password")
    user, _, password = rest[: max(at, 0)].partition(":")
    # A + stands for itself here, as it does for libpq.
    query = (after["query"] or "").replace("+", "%2B")
    parameters = {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}
    return _Parts(
        hosts=after["hosts"],
        dbname=unquote(after["dbname"] or "") or parameters.pop("dbname", ""),
        user=unquote(user) or parameters.pop("user", ""),
        password=unquote(password) or parameters.pop("password", ""),
        raw_password=password,
        parameters=parameters,
    )


def _from_keywords(text: str) -> _Parts:
    try:
        given = parse_dsn(" ".join(text.split("\n")))
    except psycopg2.ProgrammingError:
        raise ValueError(
            "the keywords can't be read: each is name=value, and a value with spaces or quotes stands in '…'"
        ) from None
    return _from_pairs(list(given.items()))


def _from_pairs(pairs: list[tuple[str, str]]) -> _Parts:
    named = {name.strip().lower(): value for name, value in pairs}
    given = {_OTHER_KEYWORDS.get(name, name).replace(" ", "_"): value for name, value in named.items()}
    port = given.pop("port", "")
    host = quote(given.pop("host", ""), safe=",[]:")
    password = given.pop("password", "")
    return _Parts(
        hosts=f"{host}:{port}" if port else host,
        dbname=given.pop("dbname", ""),
        user=given.pop("user", ""),
        password=password,
        raw_password=password,
        parameters=given,
    )


def _check_people(parts: _Parts) -> None:
    if _PLACEHOLDER.fullmatch(parts.raw_password):
        raise ValueError(
            "the password is a placeholder, or still in its brackets: put in the database's own "
            "(brackets that belong to it are written %5B and %5D)"
        )
    if ".pooler.supabase." in parts.hosts and "." not in parts.user:
        raise ValueError(
            "the user of Supabase's pooler is followed by the project, as in postgres.abcdefghijklmnopqrst"
        )


def _check_hosts(parts: _Parts) -> None:
    if not parts.hosts and not {"host", "hostaddr", "service"} & parts.parameters.keys():
        raise ValueError("the host is missing")
    for host in parts.hosts.split(","):
        port = re.search(r":([^:\]]*)$", host)
        if port and port[1] and not (port[1].isascii() and port[1].isdigit() and 0 < int(port[1]) < 65_536):
            raise ValueError("the port is not a number from 1 to 65535")
        if re.search(r"\.supabase\.(co|com):6543$", host):
            raise ValueError(
                "port 6543 is Supabase's pooler in transaction mode, which can't hold sessions: use port 5432"
            )


def _translated(parameters: dict[str, str]) -> dict[str, str]:
    """The parameters that libpq knows; those of other clients are left out or said in its words."""
    taken: dict[str, str] = {}
    for name, value in parameters.items():
        if name in {"ssl", "sslmode"}:
            mode = value.lower().replace("verifyfull", "verify-full").replace("verifyca", "verify-ca")
            taken["sslmode"] = _OTHER_SSL.get(mode, mode)
        elif name not in _FOREIGN:
            taken[name] = value
    if taken.get("sslmode", "prefer") not in _SSL_MODES:
        raise ValueError(f"sslmode is none of {', '.join(_SSL_MODES)}")
    for name in taken:
        try:
            parse_dsn(f"postgresql:///?{quote(name)}=1")
        except psycopg2.ProgrammingError:
            raise ValueError(f"the parameter {name[:40]!r} is none that Postgres knows") from None
    return taken


def _put_together(parts: _Parts) -> str:
    user = quote(parts.user, safe="")
    secret = f":{quote(parts.password, safe='')}" if parts.password else ""
    at = "@" if user or secret else ""
    query = urlencode(parts.parameters, quote_via=quote)
    dbname = f"/{quote(parts.dbname, safe='')}" if parts.dbname or query else ""
    uri = f"postgresql://{user}{secret}{at}{parts.hosts}{dbname}{'?' if query else ''}{query}"
    try:
        parse_dsn(uri)
    except psycopg2.ProgrammingError:
        raise ValueError("can't be read as a Postgres URI: percent-encode special characters") from None
    return uri
