"""What people type, brought into shape: limits, and no characters that nobody can see."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

NAME = 24
ROOM_NAME = 32
MESSAGE = 2_000
TODO = 120
MENTIONS = 10  # people that one message rings the bell of

_MENTION = re.compile(r"(?<![\w@])@([a-z0-9]+(?:-[a-z0-9]+)*)", re.IGNORECASE)


class Refused(ValueError):
    """Not acceptable; the message says so to whoever typed it."""


def name(given: object, *, limit: int = NAME) -> str:
    """One line, at least one letter or digit, no control or formatting characters."""
    text = _visible(given, keep="")
    text = " ".join(text.split())
    if not any(map(str.isalnum, text)):
        raise Refused("A name needs at least one letter or digit.")
    if len(text) > limit:
        raise Refused(f"A name has at most {limit} characters; this one has {len(text)}.")
    return text


def handle(name: str, fallback: str) -> str:
    """`name` in letters, digits and single hyphens, as ids and channel names need it.

    A name with none of these (such as 李) gets `fallback-` and a hash of it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = "-".join(re.findall(r"[a-z0-9]+", plain))
    return slug[:40].strip("-") or f"{fallback}-{sha256(name.encode()).hexdigest()[:8]}"


def message(given: object) -> str:
    """Any lines, not all of them blank."""
    text = _visible(given, keep="\n\t\u200d\u200c").strip()
    if not text:
        raise Refused("A message needs some text.")
    if len(text) > MESSAGE:
        raise Refused(f"A message has at most {MESSAGE:,} characters; this one has {len(text):,}.")
    return text


def todo(given: object) -> str:
    """One line."""
    text = " ".join(_visible(given, keep="\u200d\u200c").split())
    if not text:
        raise Refused("A line needs some text.")
    if len(text) > TODO:
        raise Refused(f"A line has at most {TODO} characters; this one has {len(text)}.")
    return text


def mentions(text: str) -> list[str]:
    """The ids after an @, each once, in order; no more than `MENTIONS`."""
    return list(dict.fromkeys(map(str.lower, _MENTION.findall(text))))[:MENTIONS]


def _visible(given: object, keep: str) -> str:
    if not isinstance(given, str):
        raise Refused("Some text is needed.")
    text = unicodedata.normalize("NFC", given.replace("\r\n", "\n"))
    # C: control, formatting (such as the ones that reverse a line), surrogates, unassigned.
    return "".join(c for c in text if c in keep or not unicodedata.category(c).startswith("C"))
