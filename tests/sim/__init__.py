"""A deterministic simulator: the production operator and pod machines in one loop with virtual time and injected faults."""
