"""The smallest files that are what they say: for stand-ins of everything that makes or keeps media."""

from __future__ import annotations

import base64

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
#: The header of an MP4 file and an empty box for its data.
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42" + b"\x00\x00\x00\x08mdat"
#: An empty ID3 tag and the header of one silent frame.
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x64" + bytes(64)

#: Kind of output -> MIME type, extension and content.
SAMPLES = {
    "image": ("image/png", "png", PNG),
    "video": ("video/mp4", "mp4", MP4),
    "audio": ("audio/mpeg", "mp3", MP3),
    "music": ("audio/mpeg", "mp3", MP3),
}
