"""Pusher Channels on API Gateway WebSockets, Lambda and DynamoDB: nothing runs while nobody is
connected."""
