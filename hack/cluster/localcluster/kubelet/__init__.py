"""The stand-in kubelet."""
