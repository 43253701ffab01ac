"""Field types and small models that more than one resource uses: names, counts, seconds, limits, state, conditions.

The bounds are the schema's. They are generous where only nonsense is to be refused, and tight where a size is paid for
on every write.
"""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from pinfleet_operator.api.models.base import Model, Rule, cel

DNS_LABEL_PATTERN: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
TEN_YEARS: Final = 315_360_000
"""Longest time that a field takes, in seconds; nothing here is meant to outlive it."""
INT32_MAX: Final = 2**31 - 1

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
"""Lower-case letters, digits and dashes, at most 63: it becomes a label's value and a part of pod names."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
"""Name of an object in the same namespace. References never carry a namespace."""

Uid = Annotated[str, Field(min_length=1, max_length=64)]

Reason = Annotated[str, Field(min_length=1, max_length=128, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
"""One CamelCase word for programs."""

Text = Annotated[str, Field(max_length=4096)]
"""A message for people. Writers cut theirs to this length: the API server refuses a longer one."""

Count = Annotated[int, Field(ge=0, le=INT32_MAX)]

Seconds = Annotated[int, Field(ge=0, le=TEN_YEARS)]
Retention = Annotated[int, Field(ge=3_600, le=TEN_YEARS)]
PositiveSeconds = Annotated[int, Field(ge=1, le=TEN_YEARS)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Tokens = Annotated[int, Field(ge=1, le=2**53 - 1)]
Attempts = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=1, le=65_535)]
RunsPerPod = Annotated[int, Field(ge=1, le=1_000)]
Replicas = Annotated[int, Field(ge=0, le=1_000)]
SchemaVersion = Annotated[int, Field(ge=1, le=1_000_000)]
Generation = Annotated[int, Field(ge=0, le=2**53 - 1)]

VersionPhase = Literal["Preparing", "Candidate", "Active", "Draining", "Dormant", "Retired", "Failed", "Superseded"]


class Condition(Model):
    """One condition, as every Kubernetes tool reads it."""

    type: Annotated[str, Field(min_length=1, max_length=128, pattern="^[A-Za-z]([A-Za-z0-9]*)$")]
    """What the condition is about, such as Ready."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Reason
    """Why, in one CamelCase word for programs. Never empty."""

    message: Text
    """Why, in a sentence for people, with what to do about it where that is known."""

    last_transition_time: AwareDatetime
    """When the status last changed."""

    observed_generation: Generation | None = None
    """The metadata.generation that this condition was judged on."""


class SqliteState(Model):
    """Journals in one SQLite file on a claim: for development and small installations, on one node."""

    claim_name: ObjectName
    """Name of an existing PersistentVolumeClaim in the fleet's namespace. It is mounted into every agent pod at
    /var/lib/pinfleet/state, and the journal is the file journal.db in it. Its volume must be a local filesystem."""


class PostgresState(Model):
    """Journals in one schema of a PostgreSQL database, prepared by `pinfleet-agent db prepare`."""

    secret_name: ObjectName
    """Name of a Secret in the fleet's namespace whose key url holds the URL of the pods' role, such as
    postgresql://support_pods:password@host/database. It is mounted into every agent pod, and read again for each
    connection: a password is rotated by changing the Secret."""


STATE_RULE: Final = Rule(
    rule="has(self.sqlite) != has(self.postgres)",
    message="state names one store: sqlite or postgres",
)


class State(Model):
    """Where the fleet's agents keep their journals: exactly one of the stores."""

    model_config = ConfigDict(json_schema_extra=cel(STATE_RULE))

    sqlite: SqliteState | None = None
    """Keep journals in a SQLite file on a PersistentVolumeClaim."""

    postgres: PostgresState | None = None
    """Keep journals in a PostgreSQL database: for more than one node."""
