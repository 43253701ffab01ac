"""The API server: resources, credentials, a client that never retries, reflectors that never give up.

Errors of the libraries below stop here; callers see `pinfleet_operator.errors` alone.
"""
