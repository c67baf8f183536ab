"""The error tree: as it is drawn, free of secrets, able to travel between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from realtime_kit import errors
from realtime_kit.events import Event, Receipt


def drawn_tree() -> dict[str, str]:
    """Child → parent, read from the drawing in the module's docstring."""
    parents: dict[str, str] = {}
    path = ["RealtimeError"]
    for line in (errors.__doc__ or "").splitlines():
        column = line.find("── ") - 1
        if column < 0:
            continue
        name = line[column + len("├── ") :].split()[0]
        path = [*path[: column // 4 + 1], name]
        parents[name] = path[-2]
    return parents


def real_tree() -> dict[str, str]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return {
        kind.__name__: kind.__bases__[0].__name__
        for kind in classes
        if kind.__module__ == errors.__name__ and kind is not errors.RealtimeError
    }


def test_the_drawing_is_true():
    assert drawn_tree() == real_tree()


def samples() -> list[errors.RealtimeError]:
    event = Event("orders", "shipped", {"a": 1})
    return [
        errors.ConfigurationError("provider is not set"),
        errors.InvalidChannel("bad name"),
        errors.InvalidEvent("bad event"),
        errors.PayloadTooLarge("too large", size=2, limit=1),
        errors.AuthError("no"),
        errors.Denied("no rule"),
        errors.BadSignature("bad"),
        errors.Expired("old"),
        errors.ProviderError("odd", provider="pusher"),
        errors.RateLimited("slow down", provider="pusher", status=429, retry_after=1.5),
        errors.ProviderUnavailable("down", provider="pusher", retryable=True, maybe_sent=True),
        errors.Rejected("no", provider="ably", status=401, code=40101, request_id="r-1"),
        errors.PartiallySent(
            "half",
            provider="pusher",
            accepted=[Receipt("orders")],
            unsent=[event],
            unknown=[event],
        ),
        errors.Unsupported("cannot"),
    ]


@pytest.mark.parametrize("error", samples(), ids=lambda error: type(error).__name__)
def test_travels_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_every_error_has_a_sample():
    assert {type(error).__name__ for error in samples()} == set(real_tree())


class TestProviderError:
    def test_says_who_and_what(self):
        error = errors.Rejected("refused", provider="ably", status=401, code=40101, request_id="r")
        assert str(error) == "refused (ably, status 401, code 40101, request r)"
        assert str(errors.Rejected("refused", provider="ably")) == "refused (ably)"

    def test_defaults_promise_nothing(self):
        error = errors.ProviderError("odd", provider="pusher")
        assert (error.retryable, error.maybe_sent, error.status) == (False, False, None)

    def test_rate_limited_may_be_tried_again(self):
        error = errors.RateLimited("slow down", provider="pusher", retry_after=2.0)
        assert error.retryable
        assert not error.maybe_sent
        assert error.retry_after == 2.0

    def test_partially_sent_tells_the_three_apart(self):
        sent, unsent = Event("a", "n", {}), Event("b", "n", {})
        error = errors.PartiallySent(
            "half", provider="pusher", accepted=[Receipt("a")], unsent=[unsent], unknown=[]
        )
        assert (error.accepted, error.unsent, error.unknown) == ((Receipt("a"),), (unsent,), ())
        assert not error.maybe_sent
        unclear = errors.PartiallySent(
            "half", provider="pusher", accepted=[], unsent=[], unknown=[sent]
        )
        assert unclear.maybe_sent

    def test_events_stay_out_of_the_text(self):
        event = Event("orders", "shipped", {"card": "4242"})
        error = errors.PartiallySent(
            "half", provider="pusher", accepted=[], unsent=[event], unknown=[event]
        )
        assert "4242" not in str(error) + repr(error)


def test_wrong_values_are_value_errors_too():
    assert issubclass(errors.InvalidChannel, ValueError)
    assert issubclass(errors.PayloadTooLarge, ValueError)


def test_a_missing_extra_is_one_line_that_can_be_pasted():
    hint = errors.missing_extra("server", "the embedded server")
    assert isinstance(hint, errors.ConfigurationError)
    assert str(hint) == "the embedded server needs an extra: pip install 'realtime-kit[server]'"
