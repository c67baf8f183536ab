"""Stand-ins for the vendors, on this machine, with faults on demand. See docs/emulators.md."""
