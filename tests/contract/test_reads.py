"""What LIST and watch show, in which order, and as of when."""

import asyncio
from contextlib import aclosing

import pytest

from pinfleet_operator.api.run import decode_run
from pinfleet_operator.errors import Rejected, Unavailable
from pinfleet_operator.kube import listing
from pinfleet_operator.kube.events import decode_event
from pinfleet_operator.kube.listing import list_all
from pinfleet_operator.kube.resources import AGENT_RUNS
from tests.contract.place import Place, beyond_sim, encoded, names, version, with_schemas


async def test_a_list_is_by_name_and_has_a_version_of_its_own(place: Place) -> None:
    """Its resourceVersion is at least that of everything in it."""
    for name in ("b", "c", "a"):
        made = await place.create(name)
    found = await list_all(place.kube, AGENT_RUNS, namespace=place.namespace)
    assert names(found.items) == ["a", "b", "c"]
    assert int(found.resource_version) >= int(version(made))


@beyond_sim
async def test_pages_are_all_of_the_first_pages_version(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is created between two pages is not in the list."""
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    for name in ("a", "b", "c", "d"):
        await place.create(name)
    original, pages = place.kube.list_page, []

    async def between_pages(*arguments: object, **named: object) -> bytes:
        page = await original(*arguments, **named)  # type: ignore[arg-type]  # handed on
        pages.append(page)
        if len(pages) == 1:
            await place.create("late")
            await place.kube.delete(AGENT_RUNS, place.namespace, "d")
        return page

    monkeypatch.setattr(place.kube, "list_page", between_pages)
    found = await list_all(place.kube, AGENT_RUNS, namespace=place.namespace)
    assert names(found.items) == ["a", "b", "c", "d"]
    assert len(pages) == 2


@beyond_sim
async def test_an_exact_list_shows_the_past(place: Place) -> None:
    """The collection as of a resourceVersion, with what was deleted and changed since."""
    await place.create("a")
    await place.create("b")
    at = version(await place.set_phase("a", "Running"))
    await place.kube.delete(AGENT_RUNS, place.namespace, "b")
    await place.set_phase("a", "Failed")
    await place.create("c")
    found = await list_all(
        place.kube, AGENT_RUNS, namespace=place.namespace, resource_version=at, resource_version_match="Exact"
    )
    assert found.resource_version == at
    assert names(found.items) == ["a", "b"]
    assert b'"Running"' in bytes(found.items[0]).replace(b" ", b"")


@beyond_sim
async def test_a_version_of_the_future_is_unavailable(place: Place) -> None:
    """The server does not make something up."""
    at = str(int(version(await place.create("a"))) + 100_000)
    with pytest.raises(Unavailable):
        await list_all(
            place.kube, AGENT_RUNS, namespace=place.namespace, resource_version=at, resource_version_match="Exact"
        )


async def test_fields_select(place: Place) -> None:
    """Fleet, version and phase, alone and together, with "is not" too."""
    for name, phase, fleet in (("a", "Running", "x"), ("b", "Failed", "x"), ("c", "Running", "y")):
        await place.create(name, fleet=fleet)
        await place.set_phase(name, phase, version="v1" if name == "a" else "v2")

    async def select(selector: str) -> list[str]:
        found = await list_all(place.kube, AGENT_RUNS, namespace=place.namespace, field_selector=selector)
        return names(found.items)

    assert await select("status.phase=Running") == ["a", "c"]
    assert await select("spec.task.agentDeployment=x") == ["a", "b"]
    assert await select("status.version=v2,status.phase!=Failed") == ["c"]
    assert await select("metadata.name=b") == ["b"]
    assert await select("status.phase!=Running,status.phase!=Failed") == []
    await place.create("d", fleet="y")  # it has no status yet
    assert await select("spec.task.agentDeployment=y,status.version=") == ["d"]


@beyond_sim
async def test_a_field_that_cannot_be_selected_by_is_rejected(place: Place) -> None:
    """It is not taken for "nothing matches"."""
    with pytest.raises(Rejected):
        await list_all(place.kube, AGENT_RUNS, namespace=place.namespace, field_selector="status.steps=1")


@beyond_sim
async def test_labels_select(place: Place) -> None:
    """Equality, sets and presence."""
    await place.create("a", labels={"k": "1"})
    await place.create("b", labels={"k": "2", "only": "b"})
    await place.create("c")

    async def select(selector: str) -> list[str]:
        found = await list_all(place.kube, AGENT_RUNS, namespace=place.namespace, label_selector=selector)
        return names(found.items)

    assert await select("k=1") == ["a"]
    assert await select("k!=1") == ["b", "c"]
    assert await select("k in (1,2),!only") == ["a"]
    assert await select("k notin (1)") == ["b", "c"]
    assert await select("k") == ["a", "b"]


async def test_a_watch_list_ends_its_snapshot_with_a_bookmark_and_goes_on(place: Place) -> None:
    """First every object, by name; then the marked bookmark; then the changes, in the order of their versions."""
    for name in ("b", "c", "a"):
        made = await place.create(name)
    async with place.watching(send_initial_events=True) as stream:
        found, at = await stream.snapshot()
        assert found == ["a", "b", "c"]
        assert int(at) >= int(version(made))
        await place.create("d")
        await place.set_phase("a", "Running")
        await place.kube.delete(AGENT_RUNS, place.namespace, "b")
        assert await stream.changes(3) == [("ADDED", "d"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_an_empty_watch_list_has_its_bookmark_too(place: Place) -> None:
    """Nothing there is a snapshot as well."""
    async with place.watching(send_initial_events=True) as stream:
        found, at = await stream.snapshot()
        assert found == []
        assert int(at) > 0


async def test_a_watch_resumes_after_a_version(place: Place) -> None:
    """Everything after it, once, in order, and nothing before it."""
    await place.create("a")
    at = version(await place.create("b"))
    await place.set_phase("a", "Running")
    await place.create("c")
    async with place.watching(resource_version=at) as stream:
        assert await stream.changes(2) == [("MODIFIED", "a"), ("ADDED", "c")]


async def test_a_write_without_effect_is_no_event(place: Place) -> None:
    """The next event after it is the next real change."""
    await place.create("a")
    at = version(await place.set_phase("a", "Running"))
    await place.set_phase("a", "Running")
    async with place.watching(resource_version=at) as stream:
        await place.create("b")
        assert await stream.changes(1) == [("ADDED", "b")]


async def test_the_echo_of_a_write_is_its_answer(place: Place) -> None:
    """The event of our own write carries the version and content that the write answered."""
    at = version(await place.create("a"))
    async with place.watching(resource_version=at) as stream:
        answer = await place.set_phase("a", "Running", steps=4)
        event = await stream.change()
    assert event["type"] == "MODIFIED"
    assert event["object"]["metadata"]["resourceVersion"] == version(answer)
    assert event["object"]["status"] == answer["status"]


async def test_a_deletion_is_an_event_with_a_version_of_its_own(place: Place) -> None:
    """It shows the last state, under the version of the deletion: counts stay in step with it."""
    await place.create("a")
    last = await place.set_phase("a", "Running")
    async with place.watching(resource_version=version(last)) as stream:
        await place.kube.delete(AGENT_RUNS, place.namespace, "a")
        event = await stream.change()
    assert event["type"] == "DELETED"
    assert event["object"]["status"]["phase"] == "Running"
    assert int(version(event["object"])) > int(version(last))


@beyond_sim
async def test_leaving_and_entering_a_selector_are_events(place: Place) -> None:
    """What no longer matches is DELETED with its matching state, under the change's version."""
    await place.create("a")
    at = version(await place.set_phase("a", "Running"))
    async with place.watching(resource_version=at, field_selector="status.phase=Running") as stream:
        left = await place.set_phase("a", "Parked")
        event = await stream.change()
        assert event["type"] == "DELETED"
        assert event["object"]["status"]["phase"] == "Running"
        assert version(event["object"]) == version(left)
        await place.set_phase("a", "Running", epoch=2)
        assert await stream.changes(1) == [("ADDED", "a")]


@beyond_sim
async def test_a_version_that_is_too_old_is_gone(place: Place) -> None:
    """The watch opens well, and its first event says so."""
    if place.server is not None:
        await place.create("a")
        place.server.memory.compact()
    async with place.watching(resource_version="1") as stream:
        event = await stream.change()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


@beyond_sim
async def test_the_server_ends_a_watch_when_asked_to(place: Place) -> None:
    """The end is clean: no error, no half line."""
    async with asyncio.timeout(20):
        async with place.watching(send_initial_events=True, timeout_seconds=1) as stream:
            await stream.snapshot()
            with pytest.raises(StopAsyncIteration):
                await stream.change()


async def test_other_namespaces_are_not_shown(place: Place) -> None:
    """A list of one namespace is of that namespace."""
    await place.create("a")
    found = await list_all(place.kube, AGENT_RUNS, namespace="elsewhere")
    assert found.items == []
    everywhere = await list_all(place.kube, AGENT_RUNS)
    assert "a" in names(everywhere.items)


async def test_an_object_of_a_megabyte_comes_whole_through_a_watch(place: Place) -> None:
    """The largest that etcd takes is no trouble for the stream."""
    body = {
        "apiVersion": "pinfleet.dev/v1alpha1",
        "kind": "AgentRun",
        "metadata": {"name": "big", "annotations": {"filler": "x" * 100_000}},
        "spec": {"task": {"agentDeployment": "fleet", "input": "y" * 900_000}},
    }
    async with place.watching(send_initial_events=True) as stream:
        await stream.snapshot()
        await place.kube.create(AGENT_RUNS, place.namespace, encoded(body))
        event = await stream.change()
    assert len(event["object"]["spec"]["task"]["input"]) == 900_000


@with_schemas
@pytest.mark.parametrize("levels", [201, 5_000, 9_000])
async def test_what_the_server_takes_at_any_depth_is_read(place: Place, levels: int) -> None:
    """Its own limit is 10,000 levels; what it adds of its own to such an object nests as deep."""
    body = encoded(
        {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentRun",
            "metadata": {"name": "run"},
            "spec": {"task": {"agentDeployment": "fleet", "input": "deep"}},
        }
    ).replace(b'"deep"', b'{"a":' * levels + b"1" + b"}" * levels)
    assert decode_run(await place.kube.create(AGENT_RUNS, place.namespace, body)).is_input_too_deep
    found = await list_all(place.kube, AGENT_RUNS, namespace=place.namespace)
    assert [decode_run(item).is_input_too_deep for item in found.items] == [True]
    async with aclosing(place.kube.watch(AGENT_RUNS, namespace=place.namespace, send_initial_events=True)) as lines:
        event = decode_event(await anext(lines))
    assert decode_run(event.raw).is_input_too_deep
