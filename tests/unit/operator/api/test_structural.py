"""From pydantic to a structural schema: what is inlined, what is dropped, and what is refused."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pinfleet_operator.api.models.base import AnyJson, AnyObject, Model, Rule, atomic, cel, to_camel
from pinfleet_operator.api.structural import NotStructural, structural


class Inner(Model):
    """An inner thing."""

    run_ttl_seconds: Annotated[int, Field(ge=1, le=9)] = 3
    """How long,
    over two lines."""


class Outer(Model):
    """An outer thing."""

    model_config = ConfigDict(json_schema_extra=cel(Rule(rule="self.a == 1", message="no", field_path=".a")))

    inner: Inner = Inner()
    """Said at the field."""
    maybe: Inner | None = None
    plain: Inner
    names: Annotated[
        tuple[Annotated[str, Field(max_length=3)], ...], Field(max_length=2, json_schema_extra=atomic())
    ] = ()
    anything: AnyJson = None
    thing: AnyObject


def test_a_model_becomes_structural() -> None:
    """References are inlined, absence stands for null, a field's own description wins, typeless stays typeless."""
    number = {"description": "How long, over two lines.", "type": "integer", "minimum": 1, "maximum": 9, "default": 3}
    inner = {"type": "object", "properties": {"runTTLSeconds": number}}
    preserved = {"x-kubernetes-preserve-unknown-fields": True}
    assert structural(Outer) == {
        "description": "An outer thing.",
        "type": "object",
        "required": ["plain", "thing"],
        "x-kubernetes-validations": [{"rule": "self.a == 1", "message": "no", "fieldPath": ".a"}],
        "properties": {
            "inner": {"description": "Said at the field.", "default": {}, **inner},
            "maybe": {"description": "An inner thing.", **inner},
            "plain": {"description": "An inner thing.", **inner},
            "names": {
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "string", "maxLength": 3},
            },
            "anything": preserved,
            "thing": preserved,
        },
    }


class TwoTypes(BaseModel):
    """Neither this nor that."""

    value: int | str


class Open(BaseModel):
    """Any keys at all."""

    value: dict[str, int]


class Typeless(BaseModel):
    """Any JSON, without saying so to Kubernetes."""

    value: JsonValue


@pytest.mark.parametrize(
    ("model", "words"), [(TwoTypes, "may be of 2 types"), (Open, "additionalProperties"), (Typeless, "it has no type")]
)
def test_what_kubernetes_cannot_say_is_refused(model: type[BaseModel], words: str) -> None:
    """A model that a CRD cannot hold stops the generator, naming the field, instead of losing a bound."""
    with pytest.raises(NotStructural, match=f"{model.__name__}.value.*{words}"):
        structural(model)


@pytest.mark.parametrize(
    ("name", "camel"),
    [("pod_uid", "podUID"), ("run_ttl_seconds", "runTTLSeconds"), ("uid", "uid"), ("max_steps", "maxSteps")],
)
def test_names_are_written_as_kubernetes_writes_them(name: str, camel: str) -> None:
    """Acronyms stay acronyms, but for the first word."""
    assert to_camel(name) == camel
