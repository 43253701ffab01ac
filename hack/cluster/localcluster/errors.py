"""Every error of the local cluster that a person is meant to read.

Messages say what could not be done, why, and what to do about it.
"""


class LocalClusterError(Exception):
    """The root: something that the caller can mend, told in one message."""


class NeedMissing(LocalClusterError):
    """The machine lacks something; nothing was started."""


class BuildFailed(LocalClusterError):
    """The Kubernetes binary could not be built; the log is named in the message."""


class ComponentFailed(LocalClusterError):
    """A component died or did not become ready in time; the tail of its log is in the message."""
