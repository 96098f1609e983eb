"""What people paste as DATABASE_URL is taken as they mean it, or refused by the part at fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from app.errors import SettingsError
from app.settings import load_settings
from app.settings.dsn import read_dsn

REF = "abcdefghijklmnopqrst"
POOLER = "aws-0-eu-central-1.pooler.supabase.com"
#: The same database, by way of Supabase's session pooler.
POOLED = f"postgresql://postgres.{REF}:s3cret-word@{POOLER}:5432/postgres"


@pytest.mark.parametrize(
    ("pasted", "meant"),
    [
        # Supabase: URI, direct and pooled; the tabs for Go, Python, JDBC and .NET; Vercel's integration.
        (
            f"postgresql://postgres:s3cret-word@db.{REF}.supabase.co:5432/postgres",
            f"postgresql://postgres:s3cret-word@db.{REF}.supabase.co:5432/postgres",
        ),
        (POOLED, POOLED),
        (f"user=postgres.{REF} password=s3cret-word host={POOLER} port=5432 dbname=postgres", POOLED),
        (f"user=postgres.{REF} \npassword=s3cret-word \nhost={POOLER} \nport=5432 \ndbname=postgres", POOLED),
        (
            f"jdbc:postgresql://{POOLER}:5432/postgres?user=postgres.{REF}&password=s3cret-word",
            POOLED,
        ),
        (
            f"User Id=postgres.{REF};Password=s3cret-word;Server={POOLER};Port=5432;Database=postgres",
            POOLED,
        ),
        (
            f"postgres://postgres.{REF}:s3cret-word@{POOLER}:5432/postgres?sslmode=require&supa=base-pooler.x",
            f"{POOLED}?sslmode=require",
        ),
        # Prisma's guides, for the pooler and for the direct connection.
        (f"{POOLED}?pgbouncer=true&connection_limit=1&pool_timeout=20", POOLED),
        (f"{POOLED}?schema=public&sslaccept=strict", POOLED),
        # Heroku, and what its Node guide adds.
        (
            "postgres://u4a:p9f@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d7",
            "postgresql://u4a:p9f@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d7",
        ),
        (
            "postgres://u4a:p9f@ec2.amazonaws.com:5432/d7?sslmode=no-verify",
            "postgresql://u4a:p9f@ec2.amazonaws.com:5432/d7?sslmode=require",
        ),
        ("postgres://u:p@db.example:5432/d?ssl=true", "postgresql://u:p@db.example:5432/d?sslmode=require"),
        # Fly: its private network, and the tunnel's address.
        (
            "postgres://app:p9f@app-db.flycast:5432/app?sslmode=disable",
            "postgresql://app:p9f@app-db.flycast:5432/app?sslmode=disable",
        ),
        ("postgres://app:p@[fdaa:0:1::3]:5432/app", "postgresql://app:p@[fdaa:0:1::3]:5432/app"),
        # SQLAlchemy, Neon, several hosts, a Unix socket.
        ("postgresql+psycopg2://u:p@db.example/d", "postgresql://u:p@db.example/d"),
        (
            "postgresql://u:p@ep-x.neon.tech/d?sslmode=require&channel_binding=require",
            "postgresql://u:p@ep-x.neon.tech/d?sslmode=require&channel_binding=require",
        ),
        (
            "postgresql://u:p@one:5432,two:5433/d?target_session_attrs=read-write",
            "postgresql://u:p@one:5432,two:5433/d?target_session_attrs=read-write",
        ),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql:///d?host=%2Fvar%2Frun%2Fpostgresql"),
        # The line of a file of settings, a command, quotes, spaces and line ends around it.
        (f'DATABASE_URL="{POOLED}"', POOLED),
        (f"export DATABASE_URL='{POOLED}'\n", POOLED),
        (f'psql "{POOLED}"', POOLED),
        (f"\ufeff {POOLED}\r\n", POOLED),
    ],
)
def test_what_dashboards_and_guides_show_is_taken(pasted: str, meant: str) -> None:
    assert read_dsn(pasted) == meant


@pytest.mark.parametrize(
    "password",
    ["p@ss/w?rd#1", "a:b", "100%", "50%zz", "pa+ss", "é€", "x@y@z", "a/b@c:5432/d", "]tail", "semi;colon"],
)
def test_special_characters_of_a_password_need_no_encoding(password: str) -> None:
    taken = parse_dsn(read_dsn(f"postgresql://postgres:{password}@db.example:5432/postgres"))
    assert taken == {
        "user": "postgres",
        "password": password,
        "host": "db.example",
        "port": "5432",
        "dbname": "postgres",
    }


def test_a_percent_encoded_password_is_decoded_once() -> None:
    assert parse_dsn(read_dsn("postgresql://u:p%40ss%2525@db/d"))["password"] == "p@ss%25"


@pytest.mark.parametrize(
    ("pasted", "part"),
    [
        (f"postgresql://postgres.{REF}:[YOUR-PASSWORD]@{POOLER}:5432/postgres", "is a placeholder"),
        (f"postgresql://postgres:[hunter2hunter2]@db.{REF}.supabase.co:5432/postgres", "brackets"),
        ("postgres://postgres:__PASSWORD__@db.example/postgres", "the password is a placeholder"),
        (f"User Id=postgres.{REF};Password=[YOUR-PASSWORD];Server={POOLER}", "the password is a placeholder"),
        (f"postgresql://postgres:hunter2hunter2@{POOLER}:5432/postgres", "the user of Supabase's pooler"),
        (f"postgresql://postgres.{REF}:hunter2hunter2@{POOLER}:6543/postgres", "port 6543"),
        (f"postgresql://postgres:hunter2hunter2@db.{REF}.supabase.co:6543/postgres", "port 6543"),
        ("postgresql://u:hunter2hunter2@db:54e2/d", "the port"),
        ("postgresql://u:hunter2hunter2@db:70000/d", "the port"),
        ("postgresql://u:hunter2hunter2@/d", "the host is missing"),
        ("postgresql://", "the host is missing"),
        ("postgresql://u:hunter2hunter2@db/d?sslmode=always", "sslmode"),
        ("postgresql://u:hunter2hunter2@db/d?conect_timeout=5", "'conect_timeout'"),
        ("user=u password=hunter2hunter2 host=", "the host is missing"),
        ("host=db password='hunter2hunter2", "the keywords"),
        ("prisma+postgres://accelerate.prisma-data.net/?api_key=hunter2hunter2", "Prisma Accelerate"),
        (f"https://{REF}.supabase.co", "an address of an API"),
        (f"psql -h db.{REF}.supabase.co -p 5432 -d postgres -U postgres", "the options of psql"),
        ("mysql://root:hunter2hunter2@db", "must begin with postgres://"),
        ("", "must begin with postgres://"),
    ],
)
def test_what_cant_be_meant_is_refused_by_its_part_and_without_a_secret(pasted: str, part: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(DATABASE_URL=pasted)
    message = str(refused.value)
    assert message.startswith("DATABASE_URL: ")
    assert part in message
    assert "hunter2" not in message
    assert "\n" not in message


@given(
    user=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    password=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="[]<>_"), max_size=20),
)
def test_what_is_taken_is_taken_again_as_it_is(user: str, password: str) -> None:
    pasted = f"host=db.example user={_quoted(user)} password={_quoted(password)} dbname=d"
    once = read_dsn(pasted)
    assert read_dsn(once) == once
    assert parse_dsn(once)["user"] == user
    assert parse_dsn(once).get("password", "") == password


@given(st.text(max_size=80))
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    for pasted in (text, f"postgresql://{text}", f"host={text}"):
        told = _taken_or_told(pasted)
        assert told.startswith("postgresql://") or "\n" not in told


def _taken_or_told(pasted: str) -> str:
    try:
        taken = read_dsn(pasted)
    except ValueError as refused:
        return str(refused)
    parse_dsn(taken)
    return taken


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
