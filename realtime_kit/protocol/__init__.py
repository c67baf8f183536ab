"""Pusher Channels, sans I/O: what a server of the protocol must do, and nothing of how.

A *step* is a generator. It takes the connection value, a frame or a request, the app and the time,
*yields effects* (`effects.py`) and is sent their answers; it returns the connection value, or the
HTTP answer. A *driver* performs effects: over memory in the embedded server, over DynamoDB and
`@connections` on API Gateway. `run` joins the two. Nothing here reads a clock, randomness, or the
environment, and no step reads and then writes: each answer is decided atomically by the driver.

This file imports nothing: who only signs (`signing.py`) does not pay for the effects.
"""
