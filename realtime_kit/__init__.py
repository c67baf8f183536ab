"""Real-time for Python applications that cannot hold long connections."""

__version__ = "0.1.0"
