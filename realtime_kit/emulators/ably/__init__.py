"""Ably on this machine: REST and realtime, for the official SDKs, without an account."""
