"""Reads a whole collection, page by page, as of one resourceVersion."""

from typing import Final, NamedTuple

import msgspec

from pinfleet_operator.api.nesting import decode
from pinfleet_operator.errors import Gone, Unavailable
from pinfleet_operator.kube.api import Kube, Match
from pinfleet_operator.kube.resources import Resource

PAGE_SIZE: Final = 500
PAGED_TRIES: Final = 3  # then one page for all: slower for the server, but no continue token can expire


class Listing(NamedTuple):
    """A collection as of one moment."""

    items: list[msgspec.Raw]  # one JSON object each
    resource_version: str


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None  # the server writes null for an empty collection of some kinds


_PAGE: Final = msgspec.json.Decoder(_Page)


async def list_all(
    kube: Kube,
    resource: Resource,
    *,
    namespace: str | None = None,
    label_selector: str | None = None,
    field_selector: str | None = None,
    resource_version: str | None = None,
    resource_version_match: Match | None = None,
) -> Listing:
    """Every object of a collection; consistent where no resourceVersion is given.

    All pages are of the first page's resourceVersion. A continue token that expired half way (410) starts it over.

    Raises:
        Gone: the resourceVersion that was asked for is too old.
    """
    for attempt in range(PAGED_TRIES + 1):
        pages = _Pages(kube, resource, namespace, label_selector, field_selector)
        limit = PAGE_SIZE if attempt < PAGED_TRIES else None
        try:
            return await pages.read(limit, resource_version, resource_version_match)
        except Gone:
            if pages.count == 0:
                raise
    raise Gone(f"cannot list {resource.kind} {namespace or '*'}: its pages expired while they were read")


class _Pages:
    """One attempt at reading the pages."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        namespace: str | None,
        label_selector: str | None,
        field_selector: str | None,
    ) -> None:
        self.count = 0  # pages read
        self._kube, self._resource, self._namespace = kube, resource, namespace
        self._label_selector, self._field_selector = label_selector, field_selector

    async def read(self, limit: int | None, resource_version: str | None, match: Match | None) -> Listing:
        items: list[msgspec.Raw] = []
        token: str | None = None
        while True:
            raw = await self._kube.list_page(
                self._resource,
                namespace=self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                # A continue token carries the resourceVersion; giving both is refused.
                resource_version=resource_version if token is None else None,
                resource_version_match=match if token is None else None,
                limit=limit,
                continue_token=token,
            )
            page = self._decode(raw)
            self.count += 1
            items += page.items or []
            token = page.metadata.continue_token or None
            if token is None:
                return Listing(items, page.metadata.resource_version)

    def _decode(self, raw: bytes) -> _Page:
        try:
            return decode(_PAGE, raw)
        except msgspec.MsgspecError as err:
            cause = f"cannot list {self._resource.kind} {self._namespace or '*'}: the answer is no list: {err}"
            raise Unavailable(cause) from err
