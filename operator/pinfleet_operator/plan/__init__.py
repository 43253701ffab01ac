"""What versions and pods a fleet should have: values in, a plan out.

``observe`` makes a ``World``, ``plan.decide.plan`` turns it into a ``Plan``, ``apply`` carries it out. Nothing in here
reads a clock, talks to a cluster, logs or throws dice.
"""
