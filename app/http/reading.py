"""Read the body of a response up to a limit, and undo a compression that nobody asked for.

The limit holds for what comes over the wire and for what it unpacks to, so a small response can't become a
huge one. Encodings that the standard library doesn't know are left as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.http.failures import OutboundFailedError

_GZIP = b"\x1f\x8b"
_GZIP_NAMES = frozenset({"gzip", "x-gzip"})
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15


@dataclass(frozen=True)
class Body:
    """What was read; `is_unpacked` tells that it came compressed."""

    content: bytes
    is_truncated: bool
    is_unpacked: bool = False


def read_body(pieces: Iterable[bytes], encoding: str, max_bytes: int) -> Body:
    """Read at most `max_bytes`; the rest is never read.

    Raises `OutboundFailedError` `http.broken_response` for a compressed body that is damaged or ends early.
    """
    stream = iter(pieces)
    head = b""
    for piece in stream:
        head += piece
        if len(head) >= len(_GZIP):
            break
    bits = _bits_of(encoding.strip().lower(), head)
    if bits is None:
        content, is_truncated = _read(head, stream, max_bytes)
        return Body(content, is_truncated)
    try:
        return _unpack(head, stream, bits, max_bytes)
    except zlib.error:
        raise _broken("is damaged") from None


def _bits_of(encoding: str, head: bytes) -> int | None:
    """How to unpack a body that begins so; None for one that isn't packed, whatever its header says."""
    if encoding in _GZIP_NAMES:
        return _GZIP_BITS if head.startswith(_GZIP) else None
    if encoding == "deflate" and head:
        # Some servers send the bare deflate format in place of zlib's (RFC 9110, 8.4.1.2).
        has_header = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return _ZLIB_BITS if has_header else _RAW_BITS
    return None


def _read(head: bytes, stream: Iterator[bytes], max_bytes: int) -> tuple[bytes, bool]:
    content = bytearray(head)
    while len(content) <= max_bytes:
        piece = next(stream, None)
        if piece is None:
            return bytes(content), False
        content += piece
    return bytes(content[:max_bytes]), True


def _unpack(head: bytes, stream: Iterator[bytes], bits: int, max_bytes: int) -> Body:
    content, packed_bytes, unpacker = bytearray(), 0, zlib.decompressobj(bits)
    piece: bytes | None = head
    while piece is not None:
        packed_bytes += len(piece)
        while piece:
            if unpacker.eof and not (bits == _GZIP_BITS and piece.startswith(_GZIP[:1])):
                return Body(bytes(content), is_truncated=False, is_unpacked=True)
            if unpacker.eof:  # gzip allows for several members in a row (RFC 1952, 2.2)
                unpacker = zlib.decompressobj(bits)
            content += unpacker.decompress(piece, max_bytes + 1 - len(content))
            if len(content) > max_bytes:
                return Body(bytes(content[:max_bytes]), is_truncated=True, is_unpacked=True)
            piece = unpacker.unused_data
        if packed_bytes > max_bytes:
            return Body(bytes(content), is_truncated=True, is_unpacked=True)
        piece = next(stream, None)
    if not unpacker.eof:
        raise _broken("ends early")
    return Body(bytes(content), is_truncated=False, is_unpacked=True)


def _broken(how: str) -> OutboundFailedError:
    return OutboundFailedError("http.broken_response", f"the compressed body {how}")
