"""Which processor a compiled module is for, read from the module itself. Pure.

Source: System V ABI, "Object Files", ELF header: `e_ident` is 16 bytes, its sixth the byte order;
`e_machine` are the two bytes at 18.
"""

from __future__ import annotations

MAGIC = b"\x7fELF"
HEADER = 20  # bytes that `machine` reads

_MACHINES = {62: "x86_64", 183: "arm64", 3: "i386", 40: "arm", 243: "riscv"}


def machine(content: bytes) -> str | None:
    """The processor, by Lambda's name where it has one; None for what is no ELF file."""
    if not content.startswith(MAGIC) or len(content) < HEADER:
        return None
    number = int.from_bytes(content[18:20], "little" if content[5] == 1 else "big")
    return _MACHINES.get(number, f"machine {number}")
