"""A payment service to try tools against: it charges for real, in a file, so that a double charge shows.

    python server.py --port 8081 --ledger charges.jsonl              # honours Idempotency-Key
    python server.py --port 8082 --ledger charges.jsonl --no-keys    # does not: every request is a charge

POST /payments {"order": "o-1", "cents": 9900}   201, and the receipt; with a known key the first receipt again, 200;
                                                 409 while the first request with this key is being served;
                                                 422 for a known key with another body
GET  /payments?order=o-1                         what was charged for an order
"""

import argparse
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Ledger:
    """What was charged, and the keys that were seen.

    Args:
        path: One line for each charge.
        honours_keys: Whether a known key gives the first receipt again.
        seconds: How long a charge takes.
    """

    path: Path
    honours_keys: bool = True
    seconds: float = 0.0
    _known: dict[str, tuple[bytes, dict[str, Any] | None]] = field(default_factory=dict)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, key: str, body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
        """Charge once for each key, or for each request if keys mean nothing here."""
        if self.honours_keys and key:
            with self._lock:
                known = self._known.get(key)
                if known is None:
                    self._known[key] = (body, None)
            if known is not None:
                return _again(known, body)
        receipt = self._write(json.loads(body), key)
        with self._lock:
            self._known[key] = (body, receipt)
        return HTTPStatus.CREATED, receipt

    def of(self, order: str) -> list[dict[str, Any]]:
        """The charges of one order."""
        return [charge for charge in self.charges() if charge["order"] == order]

    def charges(self) -> list[dict[str, Any]]:
        """All charges, in order."""
        with self._lock:
            return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def _write(self, asked: dict[str, Any], key: str) -> dict[str, Any]:
        time.sleep(self.seconds)
        with self._lock, self.path.open("a") as file:
            self._count += 1
            receipt = {"id": f"pay-{self._count}", "order": asked["order"], "cents": asked["cents"], "key": key}
            file.write(json.dumps(receipt) + "\n")
        return receipt


def _again(known: tuple[bytes, dict[str, Any] | None], body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
    first, receipt = known
    if first != body:
        return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": "this key was used with another body"}
    if receipt is None:
        return HTTPStatus.CONFLICT, {"error": "the first request with this key is still being served"}
    return HTTPStatus.OK, receipt


def serve(ledger: Ledger, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Return a server that is bound; the caller serves with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                self._answer(*ledger.charge(self.headers.get("Idempotency-Key", ""), body))
            except (ValueError, KeyError, TypeError) as err:
                self._answer(HTTPStatus.BAD_REQUEST, {"error": f"a payment has order and cents: {err}"})

        def do_GET(self) -> None:
            order = parse_qs(urlsplit(self.path).query).get("order", [""])[0]
            self._answer(HTTPStatus.OK, ledger.of(order) if order else ledger.charges())

        def _answer(self, status: HTTPStatus, body: object) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """The ledger says enough."""

    return ThreadingHTTPServer((host, port), Handler)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A payment service to try tools against.")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--ledger", type=Path, default=Path("charges.jsonl"))
    parser.add_argument("--no-keys", action="store_true", help="ignore Idempotency-Key: every request is a charge")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long a charge takes")
    asked = parser.parse_args(argv)
    server = serve(Ledger(asked.ledger, honours_keys=not asked.no_keys, seconds=asked.seconds), asked.port)
    print(f"charging on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
