"""A scripted model behind the OpenAI-compatible HTTP interface: an agent is switched to it by one URL.

It runs in a thread of its own, on loopback, with the standard library alone.
"""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def text(content: str) -> dict[str, Any]:
    """Return what a model says in words."""
    return {"role": "assistant", "content": content}


def call(name: str, arguments: Mapping[str, object], *, id: str = "call-1") -> dict[str, Any]:  # noqa: A002 - the wire's name
    """Return what a model says to call a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": id, "type": "function", "function": function}]}


class ScriptedModel:
    """Answers ``POST /v1/chat/completions`` with the replies that it was given, in order; then it repeats the last.

    Use it as a context manager; ``url`` is the base URL that OpenAI clients take.
    """

    def __init__(self) -> None:
        self.replies: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []  # bodies, in order
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL, with ``/v1``."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def says(self, *replies: dict[str, Any]) -> None:
        """Add replies: of ``text`` and ``call``."""
        self.replies += replies

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the body of one answer."""
        self.requests.append(request)
        if not self.replies:
            raise AssertionError("the scripted model was given nothing to say")
        message = self.replies[min(len(self.requests), len(self.replies)) - 1]
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {
            "id": f"chatcmpl-{len(self.requests)}",
            "object": "chat.completion",
            "created": 0,
            "model": request.get("model", "scripted"),
            "choices": [choice],
            "usage": _TOKENS,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(model: ScriptedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path != "/v1/chat/completions":
                self.send_error(404)
                return
            answer = json.dumps(model.answer(json.loads(body))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    return Handler
