"""Whether something that is about to be published holds a secret of the settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def gives_away(published: object, settings: object) -> bool:
    """Whether a text in `published`, a tree of JSON values, is a secret or holds one."""
    secrets = set(secrets_in(settings))
    return any(_holds(text, secret) for text in _texts_in(published) for secret in secrets)


def _holds(text: str, secret: str) -> bool:
    # A short secret, such as a test's, may stand inside of a word by chance.
    return secret == text or (len(secret) >= 8 and secret in text)


def secrets_in(value: object) -> Iterator[str]:
    """Every secret in a settings tree; of `KEY:SECRET` in one, both the whole and the secret."""
    if hasattr(value, "get_secret_value"):
        whole = value.get_secret_value()
        yield from filter(None, {whole, whole.rpartition(":")[2]})
    elif isinstance(value, tuple):
        for item in value:
            yield from secrets_in(item)
    elif hasattr(value, "__dict__"):
        for item in vars(value).values():
            yield from secrets_in(item)
    elif hasattr(value, "secret"):  # a pair, whose key is public
        yield from secrets_in(value.secret)


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
