"""What the web page's server lets through: requests by its own page, from this machine, for what the page needs."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?", re.IGNORECASE)
PATHS = frozenset([
    "/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/report",
    "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data",
    "/gradio_api/startup-events", "/gradio_api/reset", "/gradio_api/cancel",
])  # fmt: skip
# Gradio serves its own files, and below file= only uploads and previews.
PREFIXES = "/assets/", "/svelte/", "/static/", "/clip/", "/gradio_api/file=", "/gradio_api/heartbeat/"
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src "
    "'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
REPORT_HEADERS = {  # the report loads nothing and cannot reach the page around it
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; sandbox allow-scripts"
}


class LocalOnlyMiddleware:
    """An ASGI middleware that refuses other hosts, other origins, unlisted paths and large bodies.

    Written by hand because Gradio serves more than the page needs (a listing of its interface, calls from programs, a
    proxy), Starlette's TrustedHostMiddleware checks the host alone, and its CORS middleware lets requests through and
    only hides the answers. max_body: bytes of the largest request.
    """

    def __init__(self, app: "ASGIApp", max_body: int) -> None:
        self.app, self.max_body = app, max_body

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        reason = refusal(scope)
        if reason or scope["type"] != "http":
            status = 404 if reason == "no such page" else 403
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": reason.encode()})
            return

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", [])}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        received = 0

        async def receive_limited() -> "Message":
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= self.max_body else {"type": "http.disconnect"}

        await self.app(scope, receive_limited, send_with_headers)


def refusal(scope: "Scope") -> str:
    """Why a request is refused; "" if it is not.

    The host of another web site means that its name was made to resolve to this machine (DNS rebinding); another
    origin, that a web site has the browser send a request here.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host, origin, path = headers.get("host", ""), headers.get("origin"), scope["path"]
    if not HOST.fullmatch(host):
        return "not for this host"
    other_site = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    is_link = scope.get("method") == "GET" and path == "/"
    if (other_site and not is_link) or (origin is not None and origin.partition("://")[2] != host):
        return "not for other pages"
    allowed = path in PATHS or path.startswith(PREFIXES)
    return "" if allowed and "://" not in path else "no such page"  # Gradio would fetch an address in a path
