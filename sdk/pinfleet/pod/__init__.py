"""The pod's side of the run protocol: a pure state machine, and the thin process around it."""
