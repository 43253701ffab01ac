"""The supervisor's own client of the API server: blocking, standard library only, one connection per call.

It serves readiness checks and the few objects that `up` creates. Proxies in the environment are not used.
"""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any, cast

_CONFLICT = 409
_ERRORS = 400


class Client:
    """Calls to one HTTPS server of this machine with a client certificate."""

    def __init__(self, port: int, pki: Path, user: str, host: str = "127.0.0.1") -> None:
        self._host, self._port = host, port
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / f"{user}.crt", pki / f"{user}.key")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float = 5,
    ) -> tuple[int, bytes]:
        """The status and body of one call.

        Raises:
            OSError: nobody answered.
        """
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as err:
            raise OSError(f"cannot {method} {path}: {err!r}") from err
        finally:
            connection.close()

    def is_ok(self, path: str) -> bool:
        """Whether a GET answers 200."""
        try:
            return self.call("GET", path, timeout=2)[0] == http.client.OK
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at a path; None when the call fails."""
        try:
            status, body = self.call("GET", path)
        except OSError:
            return None
        return cast("dict[str, Any]", json.loads(body)) if status == http.client.OK else None

    def create(self, path: str, manifest: dict[str, Any]) -> None:
        """Create an object; one that exists already is left as it is.

        Raises:
            OSError: the server refused it.
        """
        status, body = self.call("POST", path, manifest)
        if status >= _ERRORS and status != _CONFLICT:
            raise OSError(f"cannot create {path}/{manifest['metadata']['name']}: {status} {body.decode()}")


def is_health_ok(port: int) -> bool:
    """Whether a component with a certificate of its own making answers /healthz with 200 on loopback."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the controllers and the scheduler sign their own
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
