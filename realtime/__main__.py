"""`python -m realtime`: notices votes and battle events, and passes them on to the actors."""

from __future__ import annotations

import asyncio

from app.database import database
from app.settings import settings
from app.startup import prepare
from realtime.service import serve_until_signalled


def main() -> None:
    """Run until SIGTERM."""
    prepare()
    asyncio.run(serve_until_signalled(settings(), database()))


if __name__ == "__main__":
    main()
