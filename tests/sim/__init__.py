"""A deterministic simulator: the production operator and pod machines in virtual time, with injected faults."""
