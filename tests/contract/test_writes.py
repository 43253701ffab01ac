"""What a write does, and what fences it."""

import pytest

from pinfleet_operator.errors import Conflict, NotFound, Rejected, Unavailable
from pinfleet_operator.kube.resources import (
    AGENT_DEPLOYMENTS,
    AGENT_RUNS,
    AGENT_VERSIONS,
    LEASES,
    NAMESPACES,
    PODS,
    PVCS,
    SECRETS,
    Resource,
)
from tests.contract.place import Place, beyond_sim, decoded, encoded, version, with_schemas


async def test_a_name_is_given_once(place: Place) -> None:
    """Creating what exists is a conflict."""
    await place.create("run")
    with pytest.raises(Conflict):
        await place.create("run")


async def test_a_created_object_has_its_identity_and_no_status_of_its_maker(place: Place) -> None:
    """Uid, generation and version come from the server; a status in the body is not taken."""
    body = {
        "apiVersion": "pinfleet.dev/v1alpha1",
        "kind": "AgentRun",
        "metadata": {"name": "run"},
        "spec": {"task": {"agentDeployment": "fleet"}},
        "status": {"phase": "Succeeded"},
    }
    made = decoded(await place.kube.create(AGENT_RUNS, place.namespace, encoded(body)))
    assert made["metadata"]["uid"]
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["namespace"] == place.namespace
    assert made.get("status", {}).get("phase") != "Succeeded"


@beyond_sim
async def test_a_dry_run_keeps_nothing(place: Place) -> None:
    """It answers what would be, and that is all."""
    body = {
        "apiVersion": "pinfleet.dev/v1alpha1",
        "kind": "AgentRun",
        "metadata": {"name": "run"},
        "spec": {"task": {"agentDeployment": "fleet"}},
    }
    assert decoded(await place.kube.create(AGENT_RUNS, place.namespace, encoded(body), dry_run=True))["metadata"]["uid"]
    with pytest.raises(NotFound):
        await place.get("run")


async def test_a_stale_version_is_a_conflict(place: Place) -> None:
    """Of two writers who read the same, one wins."""
    read = version(await place.create("run"))
    await place.patch("run", {"metadata": {"resourceVersion": read}, "status": {"steps": 1}}, status=True)
    with pytest.raises(Conflict):
        await place.patch("run", {"metadata": {"resourceVersion": read}, "status": {"steps": 2}}, status=True)
    assert (await place.get("run"))["status"]["steps"] == 1


@with_schemas
async def test_a_stale_version_is_judged_before_the_content(place: Place) -> None:
    """A conflict is told apart from a rejection also where the body breaks the schema."""
    read = version(await place.create("run"))
    await place.set_phase("run", "Running")
    bad = {"status": {"phase": "Nonsense"}}
    with pytest.raises(Conflict):
        await place.patch("run", {"metadata": {"resourceVersion": read}, **bad}, status=True)
    with pytest.raises(Rejected):
        await place.patch("run", bad, status=True)


@beyond_sim
@pytest.mark.parametrize(("given", "expected"), [("", Rejected), ("0", Rejected), ("x", Unavailable)])
async def test_a_version_that_is_none_is_refused(place: Place, given: str, expected: type[Exception]) -> None:
    """Neither empty nor zero nor a word passes for "whatever it is now"."""
    await place.create("run")
    with pytest.raises(expected):
        await place.patch("run", {"metadata": {"resourceVersion": given}, "status": {"steps": 1}}, status=True)


async def test_writing_the_same_again_changes_no_version(place: Place) -> None:
    """A patch without effect answers well, and nothing happened; with a stale version it is a conflict all the same."""
    first = version(await place.create("run"))
    second = version(await place.set_phase("run", "Running"))
    assert version(await place.set_phase("run", "Running")) == second
    with pytest.raises(Conflict):
        await place.patch("run", {"metadata": {"resourceVersion": first}, "status": {"phase": "Running"}}, status=True)


async def test_a_status_write_touches_the_status_alone(place: Place) -> None:
    """Labels, spec and uid in a patch of a custom resource's status are ignored, a wrong uid too."""
    made = await place.create("run", labels={"a": "b"})
    patch = {
        "metadata": {"uid": "wrong", "labels": {"a": "c"}},
        "spec": {"cancel": True},
        "status": {"steps": 3},
    }
    after = await place.patch("run", patch, status=True)
    assert after["metadata"]["uid"] == made["metadata"]["uid"]
    assert after["metadata"]["labels"] == {"a": "b"}
    assert not after["spec"].get("cancel")
    assert after["status"]["steps"] == 3
    assert after["metadata"]["generation"] == 1


async def test_a_spec_write_leaves_the_status_and_raises_the_generation(place: Place) -> None:
    """The generation counts changes of the spec."""
    await place.create("run")
    await place.set_phase("run", "Running")
    after = await place.patch("run", {"spec": {"cancel": True}, "status": {"phase": "Failed"}})
    assert after["status"]["phase"] == "Running"
    assert after["metadata"]["generation"] == 2
    labelled = await place.patch("run", {"metadata": {"labels": {"x": "y"}}})
    assert labelled["metadata"]["generation"] == 2


async def test_null_in_a_merge_removes(place: Place) -> None:
    """A field set to null is gone, and the others stay."""
    await place.create("run")
    await place.patch("run", {"status": {"pod": "p", "boot": "b"}}, status=True)
    after = await place.patch("run", {"status": {"pod": None}}, status=True)
    assert "pod" not in after["status"]
    assert after["status"]["boot"] == "b"


@beyond_sim
async def test_a_json_patch_keeps_nulls_and_is_fenced_by_the_version(place: Place) -> None:
    """A result's null members survive; a stale version is a conflict."""
    await place.create("run")
    read = version(await place.set_phase("run", "Running"))
    result = {"x": None, "y": [None, {"z": None}]}
    operations = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": read},
        {"op": "add", "path": "/status/result", "value": result},
    ]
    body = encoded(operations)
    after = decoded(await place.kube.json_patch(AGENT_RUNS, place.namespace, "run", body, subresource="status"))
    assert after["status"]["result"] == result
    with pytest.raises(Conflict):
        await place.kube.json_patch(AGENT_RUNS, place.namespace, "run", body, subresource="status")


async def test_deleting_needs_the_uid_and_the_version_that_were_meant(place: Place) -> None:
    """A deletion never hits an object that came or changed since it was decided."""
    made = await place.create("run")
    uid, read = made["metadata"]["uid"], version(made)
    current = version(await place.set_phase("run", "Running"))
    delete = place.kube.delete
    with pytest.raises(Conflict):
        await delete(AGENT_RUNS, place.namespace, "run", uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await delete(AGENT_RUNS, place.namespace, "run", uid=uid, resource_version=read)
    await delete(AGENT_RUNS, place.namespace, "run", uid=uid, resource_version=current)
    with pytest.raises(NotFound):
        await delete(AGENT_RUNS, place.namespace, "run")


async def test_what_is_not_there_is_not_found(place: Place) -> None:
    """Get, patch and delete agree."""
    with pytest.raises(NotFound):
        await place.get("nobody")
    with pytest.raises(NotFound):
        await place.set_phase("nobody", "Running")
    with pytest.raises(NotFound):
        await place.kube.delete(AGENT_RUNS, place.namespace, "nobody")


@beyond_sim
@pytest.mark.parametrize("resource", [AGENT_DEPLOYMENTS, AGENT_VERSIONS, PODS, SECRETS, PVCS, LEASES, NAMESPACES])
async def test_every_kind_says_that_an_object_is_not_there(place: Place, resource: Resource) -> None:
    """The answer names what was asked for, in the same words for every kind."""
    with pytest.raises(NotFound):
        await place.kube.get(resource, place.namespace if resource.is_namespaced else None, "nobody")


@beyond_sim
async def test_a_version_that_is_not_served_says_nothing_about_its_objects(place: Place) -> None:
    """Its 404 is not taken for an object that is gone."""
    await place.create("run")
    unserved = Resource(AGENT_RUNS.group, "v9", AGENT_RUNS.plural, AGENT_RUNS.kind)
    with pytest.raises(Unavailable):
        await place.kube.get(unserved, place.namespace, "run")
    with pytest.raises(Unavailable):
        await place.kube.delete(unserved, place.namespace, "run")


@with_schemas
async def test_creating_in_a_namespace_that_is_not_there_is_not_found(place: Place) -> None:
    """With its namespace, an object is gone too."""
    made = {key: value for key, value in (await place.create("run")).items() if key != "metadata"}
    with pytest.raises(NotFound):
        await place.kube.create(AGENT_RUNS, "nowhere", encoded({**made, "metadata": {"name": "run"}}))


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(place: Place) -> None:
    """Deletion marks it first; taking the last finalizer off ends it."""
    await place.create("run")
    await place.patch("run", {"metadata": {"finalizers": ["pinfleet.dev/versions"]}})
    await place.kube.delete(AGENT_RUNS, place.namespace, "run")
    assert (await place.get("run"))["metadata"]["deletionTimestamp"]
    await place.patch("run", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await place.get("run")


async def test_a_lease_is_made_renewed_and_released(place: Place) -> None:
    """The elector's three writes are valid, and fenced."""
    spec = {
        "holderIdentity": "a",
        "leaseDurationSeconds": 8,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 1,
    }
    body = encoded({"metadata": {"name": "pinfleet"}, "spec": spec})
    made = decoded(await place.kube.create(LEASES, place.namespace, body))
    renewal = encoded({"metadata": {"resourceVersion": version(made)}, "spec": {"leaseTransitions": 2}})
    renewed = decoded(await place.kube.merge_patch(LEASES, place.namespace, "pinfleet", renewal))
    with pytest.raises(Conflict):
        await place.kube.merge_patch(LEASES, place.namespace, "pinfleet", renewal)
    release = encoded({"metadata": {"resourceVersion": version(renewed)}, "spec": {"holderIdentity": None}})
    released = decoded(await place.kube.merge_patch(LEASES, place.namespace, "pinfleet", release))
    assert "holderIdentity" not in released["spec"]
    assert released["spec"]["leaseTransitions"] == 2
