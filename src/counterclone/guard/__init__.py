"""The guard: an ASGI layer that limits what leaks through an API."""
