"""What the web page's server lets through: requests from this machine, made by its own page, for what the page needs.

Gradio answers more paths than that: a listing of its interface, calls from programs, a proxy. They are not there.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OURS = frozenset(["127.0.0.1", "localhost"])
PATHS = frozenset(["/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/report"])
FOLDERS = (
    "/assets/", "/svelte/", "/static/", "/clip/", "/gradio_api/upload", "/gradio_api/queue/", "/gradio_api/file=",
    "/gradio_api/heartbeat/", "/gradio_api/startup-events", "/gradio_api/reset", "/gradio_api/cancel",
)  # fmt: skip
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src "
    "'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class LocalOnlyMiddleware:
    """An ASGI application in front of another. most: bytes that a request may hold."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            reason = refused(scope)
        except ValueError:  # no address at all
            reason = "not for this host"
        if reason or scope["type"] != "http":
            code = 404 if reason == "no such page" else 403
            await send({"type": "http.response.start", "status": code, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": reason.encode()})
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                held = [*message.get("headers", [])]
                there = {name.lower() for name, _ in held}
                held += [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in there]
                message["headers"] = held
            await send(message)

        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message if taken <= self.most else {"type": "http.disconnect"}

        await self.app(scope, counted, guarded)


def refused(scope: Scope) -> str:
    """Why a request is not let through; "" if it is.

    Another host's name is a web site that has made its name lead to this machine; another origin, one that has the
    browser send requests here.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in OURS:
        return "not for this host"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return "not for other pages"
    path, link = scope["path"], scope["method"] == "GET" and scope["path"] == "/"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not link:
        return "not for other pages"
    fetched = "://" in path  # Gradio would fetch that address
    return "" if not fetched and (path in PATHS or path.startswith(FOLDERS)) else "no such page"
