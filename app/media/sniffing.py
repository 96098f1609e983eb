"""What a file is, by its first bytes: providers' words for it are not taken on trust."""

from __future__ import annotations

from app.errors import GiveUp

#: First bytes and where they stand -> MIME type. WAV and WebP share the container RIFF.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
)

#: What each kind of output may be; music is a kind of audio.
_FAMILIES = {"image": "image/", "video": "video/", "audio": "audio/", "music": "audio/"}


def mime_of(content: bytes) -> str | None:
    """The MIME type of a file, or None for one that is no medium we know."""
    for offset, signature, mime in _SIGNATURES:
        if content[offset : offset + len(signature)] == signature:
            return mime
    # A bare MPEG audio frame: eleven bits of synchronisation, then a layer, which is never 0 (that is ADTS).
    if len(content) > 1 and content[0] == 0xFF and content[1] & 0xE0 == 0xE0:
        return "audio/mpeg" if content[1] & 0x06 else "audio/aac"
    return None


def check_kind(mime: str | None, kind: str) -> str:
    """The MIME type, if it is one of that kind of output; raises GiveUp `media.wrong_type` otherwise."""
    if mime is None or not mime.startswith(_FAMILIES[kind]):
        raise GiveUp("media.wrong_type", f"the provider made {mime or 'something else'}, not {kind}")
    return mime
