"""Files of media: what they are, whether they may be fetched, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GiveUp, RetryLater
from app.http import guarded_client
from app.local.media_samples import PNG, SAMPLES
from app.local.provider_server import ProviderServer
from app.local.storage_server import BUCKETS, StorageServer
from app.media.fetching import fetch
from app.media.sniffing import check_kind, mime_of
from app.platform import storage
from app.platform.media import Place
from app.providers.media import Media
from app.settings import settings


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    monkeypatch.setenv("DATABASE_URL", "postgres://x/y")
    with ProviderServer() as provider:
        for name, value in provider.environment().items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        guarded_client.cache_clear()
        yield provider
        guarded_client.cache_clear()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_is_known_by_its_first_bytes(kind: str) -> None:
    mime, _, content = SAMPLES[kind]
    assert mime_of(content) == mime
    assert check_kind(mime_of(content), kind) == mime


@given(text=st.text(alphabet=st.characters(codec="ascii"), max_size=40))
def test_a_text_is_no_medium(text: str) -> None:
    known = ("GIF87a", "GIF89a", "ID3", "OggS", "fLaC")
    if not text.startswith(known) and text[8:12] not in {"WEBP", "WAVE"} and text[4:8] != "ftyp":
        assert mime_of(text.encode()) is None


@given(content=st.binary(max_size=64), kind=st.sampled_from(["image", "video", "audio", "music"]))
def test_whatever_passes_is_of_the_kind_that_was_asked_for(content: bytes, kind: str) -> None:
    mime, family = mime_of(content), "audio/" if kind == "music" else f"{kind}/"
    if mime is not None and mime.startswith(family):
        assert check_kind(mime, kind) == mime
        return
    with pytest.raises(GiveUp, match=r"media\.wrong_type"):
        check_kind(mime, kind)


def test_a_file_is_fetched_whole(server: ProviderServer) -> None:
    assert fetch(Media("image/png", url=f"{server.url}/files/a.png"), max_bytes=1_000) == PNG


def test_a_file_that_is_too_large_is_not_read_to_its_end(server: ProviderServer) -> None:
    with pytest.raises(GiveUp, match=r"media\.too_large"):
        fetch(Media("image/png", url=f"{server.url}/files/a.png"), max_bytes=len(PNG) - 1)
    with pytest.raises(GiveUp, match=r"media\.too_large"):
        fetch(Media("image/png", content=PNG), max_bytes=len(PNG) - 1)


@pytest.mark.parametrize("scenario", ["404", "500", "reset", "cut-body"])
def test_a_file_that_did_not_come_may_come_next_time(scenario: str, server: ProviderServer) -> None:
    server.media.file_script = [scenario]
    with pytest.raises(RetryLater, match=r"media\.download_failed"):
        fetch(Media("image/png", url=f"{server.url}/files/a.png"), max_bytes=1_000)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x.png", "http://169.254.169.254/latest", "https://10.0.0.1/x", "https://[::1]/x"],
)
def test_a_link_into_our_own_network_is_not_followed(url: str, server: ProviderServer) -> None:
    with pytest.raises(GiveUp, match=r"media\.url_refused"):
        fetch(Media("image/png", url=url), max_bytes=1_000)


def test_a_redirect_is_checked_like_the_first_link(server: ProviderServer) -> None:
    server.media.file_script = ["redirect"]  # to another port of this host, which nobody allowed
    with pytest.raises(GiveUp, match=r"media\.url_refused"):
        fetch(Media("image/png", url=f"{server.url}/files/a.png"), max_bytes=1_000)


@pytest.fixture
def bucket_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    monkeypatch.setenv("DATABASE_URL", "postgres://x/y")
    with StorageServer() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield server


def test_an_upload_that_is_repeated_replaces_the_object(bucket_server: StorageServer) -> None:
    for content in (b"one", b"two"):
        storage.upload(settings(), "generated-media", "sync/a b.png", content, "image/png")
    assert bucket_server.objects["generated-media/sync/a b.png"].content == b"two"


@pytest.mark.parametrize(("status", "code"), [(503, "unavailable"), (429, "unavailable"), (400, "refused")])
def test_a_storage_that_says_no_is_asked_again(status: int, code: str, bucket_server: StorageServer) -> None:
    bucket_server.failures = [status]
    with pytest.raises(RetryLater, match=rf"storage\.{code}"):
        storage.upload(settings(), "generated-media", "a.png", PNG, "image/png")


def test_a_size_that_the_bucket_refuses_is_said(bucket_server: StorageServer) -> None:
    bucket_server.failures = [413]
    with pytest.raises(GiveUp, match=r"storage\.too_large"):
        storage.upload(settings(), "generated-media", "a.png", PNG, "image/png")


def test_a_wrong_service_key_stays_out_of_the_error(
    bucket_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "planted-wrong-key-987")
    settings.cache_clear()
    with pytest.raises(RetryLater) as caught:
        storage.upload(settings(), "generated-media", "a.png", PNG, "image/png")
    assert caught.value.code == "storage.refused"
    assert "planted" not in repr(caught.value)


@pytest.mark.parametrize(
    ("mime", "is_task", "name"),
    [
        ("image/jpeg", False, "run.jpg"),
        ("audio/mpeg", False, "run.mp3"),
        ("video/quicktime", False, "run.mov"),
        ("audio/mpeg", True, "run.mpeg"),
        ("image/png", True, "run.png"),
    ],
)
def test_an_object_is_named_as_the_platform_names_it(mime: str, is_task: bool, name: str) -> None:
    assert Place("b", "run", 1, plain_extension=is_task).object_key(mime) == name


def test_the_stand_in_has_the_buckets_that_we_use() -> None:
    assert set(BUCKETS) == {"generated-media", "battles-media", "artifacts"}
