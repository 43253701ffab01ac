"""Answers the probes of the operator's own pod: does its loop turn, are its watches alive, is its memory filled."""

from collections.abc import Callable

from aiohttp import web

SILENCE_LIMIT_SECONDS = 180.0  # a watch gets a bookmark every minute; three missing ones are no accident


class Health:
    """An HTTP server with ``/healthz`` and ``/readyz``."""

    def __init__(self, *, silent_seconds: Callable[[], float | None], is_ready: Callable[[], bool]) -> None:
        """Make a server that does not listen yet.

        Args:
            silent_seconds: age of the most silent watch's last word; None: some watch has not begun.
            is_ready: whether everything has been listed once.
        """
        self._silent_seconds, self._is_ready = silent_seconds, is_ready
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        silent = self._silent_seconds()
        if silent is not None and silent > SILENCE_LIMIT_SECONDS:
            return web.Response(status=500, text=f"a watch has been silent for {silent:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._is_ready():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not everything has been listed yet\n")
