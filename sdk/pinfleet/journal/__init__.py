"""The durable record of runs: the interface that the runtime speaks, and the databases that serve it."""
