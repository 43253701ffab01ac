"""The run loop: which pod holds which run, and what came of it."""
