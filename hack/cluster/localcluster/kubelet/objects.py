"""Secrets, ConfigMaps, claims and tokens that pods name, fetched with the node's own identity."""

import asyncio
import time
from dataclasses import dataclass, field

from localcluster.kubelet.api import FORBIDDEN, NOT_FOUND, Api, ApiError, Object
from localcluster.kubelet.environment import BadConfig

_AUTHORIZER_SECONDS = 3.0  # the Node authorizer learns of a fresh pod a moment after the kubelet does
_RETRY_SECONDS = 0.1
_RENEW_AT = 0.8  # of a token's life, as a real kubelet


@dataclass
class _Token:
    text: str  # the token
    renew_at: float  # monotonic seconds


@dataclass
class Objects:
    """A small cache in front of the API server; one per node."""

    api: Api  # the node's client
    _seen: dict[tuple[str, str, str], tuple[float, Object | None]] = field(default_factory=dict)
    _tokens: dict[tuple[str, str, int], _Token] = field(default_factory=dict)

    async def get(self, kind: str, namespace: str, name: str, *, max_age_seconds: float = 0) -> Object | None:
        """One object; None when there is none.

        Args:
            kind: secrets, configmaps, persistentvolumeclaims, or persistentvolumes (with an empty namespace).
            namespace: the pod's.
            name: its name.
            max_age_seconds: how old an answer may be.
        """
        key = (kind, namespace, name)
        at, value = self._seen.get(key, (float("-inf"), None))
        if time.monotonic() - at < max_age_seconds:
            return value
        where = f"namespaces/{namespace}/" if namespace else ""
        value = await self._patiently("GET", f"/api/v1/{where}{kind}/{name}")
        self._seen[key] = (time.monotonic(), value)
        return value

    async def token(self, pod: Object, audience: str | None, seconds: int) -> str:
        """A bound token of the pod's service account, renewed at 80 % of its life."""
        meta = pod["metadata"]
        key = (meta["uid"], audience or "", seconds)
        known = self._tokens.get(key)
        if known and time.monotonic() < known.renew_at:
            return known.text
        account = pod["spec"].get("serviceAccountName", "default")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec = {"expirationSeconds": seconds, "boundObjectRef": bound, "audiences": [audience] if audience else []}
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._patiently("POST", path, body)
        if answer is None:
            raise BadConfig(f'serviceaccount "{account}" not found')
        self._tokens[key] = _Token(answer["status"]["token"], time.monotonic() + seconds * _RENEW_AT)
        return self._tokens[key].text

    async def _patiently(self, method: str, path: str, body: object = None) -> Object | None:
        """A call that waits out the Node authorizer; None for 404."""
        deadline = time.monotonic() + _AUTHORIZER_SECONDS
        while True:
            try:
                return await self.api.call(method, path, body)
            except ApiError as err:
                if err.status == NOT_FOUND:
                    return None
                if err.status != FORBIDDEN or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_RETRY_SECONDS)
