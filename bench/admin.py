"""The administrator's hands: one keep-alive connection for what the bench does around its measurements."""

import http.client
import json
import threading
from typing import Any

from bench.http1 import Target
from localcluster import Cluster

Json = dict[str, Any]
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"


class Admin:
    """Calls of the cluster's administrator; safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        pki = cluster.layout.pki
        self.target = Target(
            host="127.0.0.1",
            port=cluster.facts.ports["apiserver"],
            ca=str(pki / "ca.crt"),
            certificate=str(pki / "admin.crt"),
            key=str(pki / "admin.key"),
        )
        self._context = self.target.ssl_context()
        self._lock = threading.Lock()
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.target.host, self.target.port, context=self._context, timeout=120)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        """One call.

        Raises:
            OSError: the API server says no; the message is its own.
        """
        content = json.dumps(body) if body is not None else None
        with self._lock:
            try:
                answer = self._send(method, path, content, kind)
            except (http.client.HTTPException, ConnectionError):  # a kept connection was closed meanwhile
                self._connection.close()
                self._connection = self._connect()
                answer = self._send(method, path, content, kind)
            text = answer.read()
        if answer.status >= 300:  # noqa: PLR2004 - neither OK nor Created
            raise OSError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        found: Json = json.loads(text)
        return found

    def _send(self, method: str, path: str, content: str | None, kind: str) -> http.client.HTTPResponse:
        self._connection.request(method, path, content, {"Content-Type": kind})
        return self._connection.getresponse()
