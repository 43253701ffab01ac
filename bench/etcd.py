"""etcd by its JSON gateway: the short way to many objects, and to none, around what is measured."""

import base64
import http.client
import json
from typing import Any

from bench.http1 import Target

Json = dict[str, Any]


class Etcd:
    """The cluster's etcd, as the API server uses it."""

    def __init__(self, port: int) -> None:
        self.target = Target("127.0.0.1", port)
        self._connection = http.client.HTTPConnection(self.target.host, port, timeout=120)

    def read(self, key: str) -> str:
        """One object."""
        found = self._ask("range", {"key": _encoded(key)})["kvs"][0]["value"]
        return base64.b64decode(found).decode()

    def puts(self, objects: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Requests that store objects, each with its key; for `World.send`."""
        return [("/v3/kv/put", json.dumps({"key": _encoded(key), "value": _encoded(value)})) for key, value in objects]

    def delete(self, prefix: str) -> None:
        """Delete every object whose key begins so."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        self._ask("deleterange", {"key": _encoded(prefix), "range_end": _encoded(end)})

    def _ask(self, what: str, body: Json) -> Json:
        self._connection.request("POST", f"/v3/kv/{what}", json.dumps(body))
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            raise OSError(f"etcd {what}: {answer.status} {text.decode(errors='replace')}")
        found: Json = json.loads(text)
        return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
