"""The payment service of the examples does what providers do, so that tools can be tried against it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[3] / "examples/payments/server.py"
Pay = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def payments() -> ModuleType:
    """The example's module."""
    spec = util.spec_from_file_location("payments_server", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pay(payments: ModuleType, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pay]:
    """Pays at a server of the test's own; a parameter gives the ledger's settings."""
    settings: dict[str, Any] = getattr(request, "param", {})
    server = payments.serve(payments.Ledger(tmp_path / "charges", **settings), 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def call(key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        url = f"http://127.0.0.1:{server.server_port}/payments"
        asked = urllib.request.Request(url, json.dumps(body).encode(), {"Idempotency-Key": key})
        try:
            with urllib.request.urlopen(asked) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    yield call
    server.shutdown()
    server.server_close()


def test_a_key_charges_once(pay: Pay, tmp_path: Path) -> None:
    """The same key gives the first receipt again; another body under it is refused."""
    first = pay("k1", {"order": "o-1", "cents": 100})
    assert first == (201, {"id": "pay-1", "order": "o-1", "cents": 100, "key": "k1"})
    assert pay("k1", {"order": "o-1", "cents": 100}) == (200, first[1])
    assert pay("k1", {"order": "o-1", "cents": 101})[0] == 422
    assert pay("k2", {"order": "o-1", "cents": 100})[1]["id"] == "pay-2"
    assert pay("k3", {"order": "o-1"})[0] == 400
    assert len((tmp_path / "charges").read_text().splitlines()) == 2


@pytest.mark.parametrize("pay", [{"honours_keys": False}], indirect=True)
def test_without_keys_every_request_charges(pay: Pay) -> None:
    """A provider that knows no keys charges twice for the same request."""
    assert [pay("k1", {"order": "o-1", "cents": 100})[1]["id"] for _ in range(2)] == ["pay-1", "pay-2"]


@pytest.mark.parametrize("pay", [{"seconds": 1.0}], indirect=True)
def test_a_request_in_flight_is_a_conflict(pay: Pay) -> None:
    """While the first request with a key is being served, the second is told so."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: pay("k1", {"order": "o-1", "cents": 100})[0], range(2)))
    assert sorted(answers) == [201, 409]
