"""The owner's web pages on the private port: who is copying the model, and what to do about it.

Rendered on the server, without a script. What they show and do comes through the protocol `desk.Desk`.
"""
