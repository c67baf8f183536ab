"""Settings: where they come from, which goes first, and what is refused."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import re
import traceback
from pathlib import Path
from typing import ClassVar

import pytest

from realtime_kit.environment import environment
from realtime_kit.errors import ConfigurationError
from realtime_kit.settings import (
    PusherSettings,
    RealtimeSettings,
    SigningKey,
    is_loopback,
    names,
    parse_key,
)

ANYWHERE = "0.0.0.0"  # noqa: S104 - never bound
SECRET = "s3cr3t-value"
PUSHER_URL = f"https://url-key:{SECRET}@api-eu.pusher.com/apps/42"


def read(environ=None, **arguments) -> RealtimeSettings:
    return RealtimeSettings(environ=environ or {}, **arguments)


def pairs(keys: tuple[SigningKey, ...]) -> list[str]:
    return [f"{pair.key}:{pair.secret.get_secret_value()}" for pair in keys]


@pytest.fixture
def dotenv(tmp_path, monkeypatch):
    """Write `.env` of a working directory of this test's own."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = tmp_path / ".env"
        path.write_text(text, encoding="utf-8")
        return path

    return write


class TestDefaults:
    def test_the_embedded_server_without_an_account(self):
        settings = read()
        assert settings.provider is None
        assert settings.provider_name == "local"
        assert settings.port == 6001
        assert settings.on_error is None
        assert settings.local.app_id == "1"
        assert pairs(settings.local.keys) == ["app-key:app-secret"]
        assert (settings.local.host, settings.local.port) == ("127.0.0.1", 6001)
        assert settings.local.tls is False
        assert settings.web.prefix == "/realtime"
        assert settings.web.trigger_tokens == ()
        assert (settings.local.timeout, settings.pusher.timeout) == (3.0, 3.0)

    def test_realtime_port_is_the_embedded_servers(self):
        settings = read({"REALTIME_PORT": "7001"})
        assert (settings.port, settings.local.port) == (7001, 7001)

    def test_the_local_provider_may_look_elsewhere(self):
        settings = read({"REALTIME_PORT": "7001", "REALTIME_LOCAL__PORT": "443"})
        assert (settings.port, settings.local.port) == (7001, 443)

    def test_settings_do_not_change(self):
        with pytest.raises(ValueError, match="frozen"):
            read().port = 1
        with pytest.raises(ValueError, match="frozen"):
            read().local.port = 1


class TestEnvironment:
    def test_sections_are_two_underscores_apart(self):
        settings = read(
            {
                "REALTIME_PROVIDER": "pusher",
                "REALTIME_PUSHER__APP_ID": "42",
                "REALTIME_PUSHER__KEYS": f"k:{SECRET}",
                "REALTIME_PUSHER__CLUSTER": "eu",
                "REALTIME_PUSHER__HOST": "push.internal",
                "REALTIME_PUSHER__PORT": "8080",
                "REALTIME_PUSHER__TLS": "false",
                "REALTIME_PUSHER__PUBLIC_HOST": "push.example.com",
                "REALTIME_PUSHER__PUBLIC_PORT": "443",
                "REALTIME_PUSHER__PUBLIC_TLS": "true",
                "REALTIME_PUSHER__TIMEOUT": "1.5",
                "REALTIME_ABLY__KEY": f"app.id:{SECRET}",
                "REALTIME_AWS__TABLE": "realtime",
                "REALTIME_ON_ERROR": "log",
                "REALTIME_WEB__PREFIX": "/broadcasting/",
            }
        )
        pusher = settings.pusher
        assert settings.provider_name == "pusher"
        assert (pusher.app_id, pusher.cluster) == ("42", "eu")
        assert (pusher.host, pusher.port, pusher.tls) == ("push.internal", 8080, False)
        assert (pusher.public_host, pusher.public_port) == ("push.example.com", 443)
        assert pusher.public_tls is True
        assert pusher.timeout == 1.5
        assert settings.ably.key is not None
        assert settings.ably.key.get_secret_value() == f"app.id:{SECRET}"
        assert settings.aws.table == "realtime"
        assert settings.on_error == "log"
        assert settings.web.prefix == "/broadcasting"

    def test_the_process_environment_is_read_where_none_is_given(self, monkeypatch):
        monkeypatch.setenv("REALTIME_PROVIDER", "null")
        assert RealtimeSettings().provider_name == "null"
        assert read().provider is None

    def test_the_names_are_read_in_any_case(self):
        assert read({"realtime_provider": "log"}).provider == "log"

    @pytest.mark.parametrize("name", ["REALTIME_PROVIDER", "PUSHER_URL", "PUSHER_APP_ID"])
    def test_an_empty_variable_is_an_unset_one(self, name):
        assert read({name: ""}) == read()

    def test_every_setting_has_a_name(self):
        assert names()["REALTIME_PUSHER__APP_ID"] == ("pusher", "app_id")
        assert names()["REALTIME_PORT"] == ("port",)
        assert "REALTIME_ON_LAMBDA" not in names()


class TestOrder:
    """An argument, `REALTIME_*`, the vendors' names, the URL."""

    URL: ClassVar = {"PUSHER_URL": PUSHER_URL}
    VENDOR: ClassVar = {
        **URL,
        "PUSHER_APP_ID": "43",
        "PUSHER_KEY": "vendor-key",
        "PUSHER_SECRET": SECRET,
        "PUSHER_CLUSTER": "ap1",
    }
    OURS: ClassVar = {
        **VENDOR,
        "REALTIME_PUSHER__APP_ID": "44",
        "REALTIME_PUSHER__KEYS": f"our-key:{SECRET}",
        "REALTIME_PUSHER__CLUSTER": "us2",
    }

    @pytest.mark.parametrize(
        ("environ", "arguments", "app_id", "key", "cluster"),
        [
            (URL, {}, "42", "url-key", "eu"),
            (VENDOR, {}, "43", "vendor-key", "ap1"),
            (OURS, {}, "44", "our-key", "us2"),
            (OURS, {"app_id": "45"}, "45", "our-key", "us2"),
            (OURS, {"keys": [f"argument:{SECRET}"]}, "44", "argument", "us2"),
        ],
        ids=["url", "vendor", "ours", "argument", "argument-keys"],
    )
    def test_the_first_that_says_something_decides(self, environ, arguments, app_id, key, cluster):
        pusher = read(environ, pusher=arguments).pusher
        assert (pusher.app_id, pusher.keys[0].key, pusher.cluster) == (app_id, key, cluster)

    def test_each_setting_is_decided_by_itself(self):
        pusher = read({**self.URL, "PUSHER_CLUSTER": "ap1"}).pusher
        assert (pusher.app_id, pusher.cluster) == ("42", "ap1")

    def test_a_whole_section_as_an_argument(self):
        section = PusherSettings(app_id="9", keys=[f"k:{SECRET}"], cluster="eu")
        assert read(self.OURS, pusher=section).pusher == section

    def test_ably(self):
        key = read({"ABLY_API_KEY": f"a.b:{SECRET}"}).ably.key
        assert key is not None
        assert key.get_secret_value() == f"a.b:{SECRET}"
        both = {"ABLY_API_KEY": f"a.b:{SECRET}", "REALTIME_ABLY__KEY": f"c.d:{SECRET}"}
        ours = read(both).ably.key
        assert ours is not None
        assert ours.get_secret_value() == f"c.d:{SECRET}"

    def test_half_a_vendors_pair_is_no_pair(self):
        assert pairs(read({**self.URL, "PUSHER_KEY": "other"}).pusher.keys) == [f"url-key:{SECRET}"]


class TestPusherUrl:
    @pytest.mark.parametrize(
        ("url", "host", "port", "tls", "cluster"),
        [
            ("https://k:s@api-eu.pusher.com/apps/42", None, None, True, "eu"),
            ("https://k:s@api-us-east-1.pusher.com/apps/42", None, None, True, "us-east-1"),
            ("https://k:s@api.pusherapp.com/apps/42", None, None, True, "mt1"),
            ("http://k:s@127.0.0.1:6001/apps/42", "127.0.0.1", 6001, False, None),
            ("http://k:s@[::1]:6001/apps/42", "::1", 6001, False, None),
            ("http://k:s@push.example.com/apps/42/", "push.example.com", None, False, None),
            ("https://k:s@push.example.com:8443/apps/42", "push.example.com", 8443, True, None),
        ],
    )
    def test_forms(self, url, host, port, tls, cluster):
        pusher = read({"PUSHER_URL": url}).pusher
        assert pusher.app_id == "42"
        assert pairs(pusher.keys) == ["k:s"]
        assert (pusher.host, pusher.port, pusher.tls) == (host, port, tls)
        assert pusher.cluster == cluster

    def test_escapes(self):
        pusher = read({"PUSHER_URL": "https://k:a%2Fb%3Ac@h/apps/1"}).pusher
        assert pairs(pusher.keys) == ["k:a/b:c"]

    @pytest.mark.parametrize(
        "url",
        [
            f"{SECRET}",
            f"https://k:{SECRET}@host",
            f"https://k:{SECRET}@host/42",
            f"https://{SECRET}@host/apps/42",
            f"ftp://k:{SECRET}@host/apps/42",
            f"https://k:{SECRET}@host:port/apps/42",
            f"https://k:{SECRET}@[host/apps/42",
            f"https://k:{SECRET}@/apps/42",
            f"https://:{SECRET}@host/apps/42",
            f"https://k:x/{SECRET}@host/apps/42",
        ],
    )
    def test_another_form_is_refused_without_its_secret(self, url):
        with pytest.raises(ConfigurationError, match="PUSHER_URL is not of the form") as caught:
            read({"PUSHER_URL": url})
        assert_silent(caught.value)


class TestDotenv:
    def test_is_read_from_the_working_directory(self, dotenv):
        dotenv("REALTIME_PROVIDER=pusher\nPUSHER_CLUSTER='eu'\n")
        settings = RealtimeSettings()
        assert settings.provider_name == "pusher"
        assert settings.pusher.cluster == "eu"

    def test_the_process_environment_goes_first(self, dotenv, monkeypatch):
        dotenv("REALTIME_PROVIDER=pusher\nREALTIME_PORT=7001\n")
        monkeypatch.setenv("REALTIME_PROVIDER", "null")
        assert RealtimeSettings().provider_name == "null"
        assert RealtimeSettings().port == 7001

    def test_other_peoples_variables_are_ignored(self, dotenv):
        dotenv("DATABASE_URL=postgres://x\nport=1\nprovider=x\nREALTIMEX=1\nPUSHER_OTHER=1\n")
        assert RealtimeSettings() == read()

    def test_it_is_only_read_with_the_process_environment(self, dotenv):
        dotenv("REALTIME_PROVIDER=pusher\n")
        assert RealtimeSettings(environ={}).provider is None

    def test_it_does_not_change_the_process_environment(self, dotenv, monkeypatch):
        monkeypatch.delenv("REALTIME_PROVIDER", raising=False)
        dotenv("REALTIME_PROVIDER=pusher\n")
        assert environment()["REALTIME_PROVIDER"] == "pusher"
        assert "REALTIME_PROVIDER" not in os.environ

    def test_an_unknown_name_is_refused_there_too(self, dotenv):
        dotenv("REALTIME_PROVIDR=pusher\n")
        with pytest.raises(ConfigurationError, match="nearest is REALTIME_PROVIDER"):
            RealtimeSettings()


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("REALTIME_PROVIDR", "REALTIME_PROVIDER"),
            ("REALTIME_PUSHER_APP_ID", "REALTIME_PUSHER__APP_ID"),
            ("REALTIME_PUSHER__KEY", "REALTIME_PUSHER__KEYS"),
            ("REALTIME_PUSHER__CLUSTR", "REALTIME_PUSHER__CLUSTER"),
            ("REALTIME_WEB__TRIGGER_TOKEN", "REALTIME_WEB__TRIGGER_TOKENS"),
            ("realtime_prot", "REALTIME_PORT"),
        ],
    )
    def test_are_refused_with_the_nearest(self, name, nearest):
        with pytest.raises(ConfigurationError) as caught:
            read({name: SECRET})
        assert str(caught.value) == f"{name} is not a setting; the nearest is {nearest}"

    @pytest.mark.parametrize("name", ["REALTIME_ON_LAMBDA", "REALTIME_", "REALTIME_PUSHER"])
    def test_what_is_no_setting_of_its_own(self, name):
        with pytest.raises(ConfigurationError, match=f"^{name} is not a setting"):
            read({name: "1"})

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [({"provder": SECRET}, "provder"), ({"pusher": {"appid": SECRET}}, "pusher.appid")],
    )
    def test_arguments_too(self, arguments, named):
        with pytest.raises(ConfigurationError, match=f"^{named} is not a setting$"):
            read(**arguments)


class TestKeys:
    @pytest.mark.parametrize(
        "given",
        [
            "new:s1,old:s2",
            " new:s1 , old:s2 ,",
            '["new:s1", "old:s2"]',
            ["new:s1", "old:s2"],
            ("new:s1", parse_key("old:s2")),
        ],
        ids=["commas", "spaces", "json", "list", "tuple"],
    )
    def test_are_a_list_newest_first(self, given):
        keys = read({"REALTIME_PUSHER__KEYS": given}).pusher.keys
        assert pairs(keys) == ["new:s1", "old:s2"]

    def test_a_secret_may_hold_a_colon(self):
        assert pairs(read({"REALTIME_PUSHER__KEYS": "k:a:b"}).pusher.keys) == ["k:a:b"]

    @pytest.mark.parametrize(
        "given", [SECRET, f":{SECRET}", f"{SECRET}:", f"ok:s,{SECRET}", f'["{SECRET}"', [7], 7]
    )
    def test_a_bad_one_is_named_without_its_value(self, given):
        with pytest.raises(ConfigurationError, match="REALTIME_PUSHER__KEYS") as caught:
            read({"REALTIME_PUSHER__KEYS": given})
        assert_silent(caught.value)

    def test_tokens(self):
        tokens = read({"REALTIME_WEB__TRIGGER_TOKENS": "new, old"}).web.trigger_tokens
        assert [token.get_secret_value() for token in tokens] == ["new", "old"]
        with pytest.raises(ConfigurationError, match="REALTIME_WEB__TRIGGER_TOKENS"):
            read({"REALTIME_WEB__TRIGGER_TOKENS": ["", SECRET]})


class TestMasterKey:
    def test_32_bytes_in_base64(self):
        text = base64.b64encode(bytes(32)).decode()
        key = read({"REALTIME_PUSHER__ENCRYPTION_MASTER_KEY": text}).pusher.encryption_master_key
        assert key is not None
        assert key.get_secret_value() == text

    @pytest.mark.parametrize("text", [SECRET, base64.b64encode(bytes(31)).decode(), "!!!!"])
    def test_anything_else(self, text):
        with pytest.raises(
            ConfigurationError, match=r"REALTIME_LOCAL__ENCRYPTION_MASTER_KEY.*base64"
        ) as caught:
            read({"REALTIME_LOCAL__ENCRYPTION_MASTER_KEY": text})
        assert text not in str(caught.value)


class TestSecretsStayIn:
    SETTINGS = RealtimeSettings(
        environ={
            "REALTIME_PUSHER__KEYS": f"k:{SECRET}",
            "REALTIME_LOCAL__KEYS": f"k:{SECRET}",
            "REALTIME_ABLY__KEY": f"a.b:{SECRET}",
            "REALTIME_WEB__TRIGGER_TOKENS": SECRET,
            "REALTIME_SERVER__APPS": f"9:k:{SECRET}",
        }
    )

    def test_out_of_repr_and_str(self):
        assert SECRET not in repr(self.SETTINGS) + str(self.SETTINGS)
        assert SECRET not in repr(self.SETTINGS.model_dump())
        assert SECRET not in repr(parse_key(f"k:{SECRET}"))

    def test_out_of_logs(self, caplog):
        with caplog.at_level(logging.INFO):
            logging.getLogger("app").info("started with %s %r", self.SETTINGS, self.SETTINGS)
        assert SECRET not in caplog.text

    @pytest.mark.parametrize(
        "environ",
        [
            {"REALTIME_PUSHER__PORT": SECRET},
            {"REALTIME_PUSHER__TLS": SECRET},
            {"REALTIME_PUSHER__TIMEOUT": SECRET},
            {"REALTIME_ON_ERROR": SECRET},
            {"REALTIME_WEB__PREFIX": SECRET},
            {"REALTIME_PORT": SECRET, "REALTIME_PUSHER__KEYS": f"k:{SECRET}"},
        ],
        ids=lambda environ: next(iter(environ)),
    )
    def test_out_of_validation_errors(self, environ):
        with pytest.raises(ConfigurationError, match=next(iter(environ))) as caught:
            read(environ)
        assert_silent(caught.value)

    def test_every_mistake_is_told_at_once(self):
        with pytest.raises(ConfigurationError) as caught:
            read({"REALTIME_PORT": "x", "REALTIME_PUSHER__PORT": "0", "REALTIME_ON_ERROR": "x"})
        for name in ("REALTIME_PORT", "REALTIME_PUSHER__PORT", "REALTIME_ON_ERROR"):
            assert name in str(caught.value)

    def test_a_key_survives_pickling(self):
        pair = parse_key(f"k:{SECRET}")
        assert pickle.loads(pickle.dumps(pair)) == pair  # noqa: S301 - our own bytes


def assert_silent(error: BaseException) -> None:
    """Neither the error nor what a traceback or an error tracker follows from it has the secret."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error))
    assert SECRET not in shown
    assert SECRET not in repr(error)


class TestMissing:
    """An error at the first use of that provider, naming the setting and the variable."""

    def test_nothing_is_asked_for_before(self):
        assert read({"REALTIME_PROVIDER": "pusher"}).provider_name == "pusher"

    def test_pusher(self):
        with pytest.raises(ConfigurationError) as caught:
            read().pusher.require()
        text = str(caught.value)
        assert "pusher.app_id is not set: set REALTIME_PUSHER__APP_ID or PUSHER_APP_ID" in text
        assert "pusher.keys is not set: set REALTIME_PUSHER__KEYS or PUSHER_KEY and" in text

    def test_pusher_needs_a_cluster_or_a_host(self):
        known = {"app_id": "1", "keys": [f"k:{SECRET}"]}
        with pytest.raises(ConfigurationError, match=r"pusher\.cluster is not set.*PUSHER_CLUSTER"):
            read(pusher=known).pusher.require()
        for more in ({"cluster": "eu"}, {"host": "127.0.0.1"}):
            section = read(pusher={**known, **more}).pusher
            assert section.require() is section

    def test_the_others(self):
        with pytest.raises(ConfigurationError, match="REALTIME_ABLY__KEY or ABLY_API_KEY"):
            read().ably.require()
        with pytest.raises(ConfigurationError, match=r"aws\.keys is not set.*REALTIME_AWS__KEYS"):
            read().aws.require()
        with pytest.raises(ConfigurationError, match=r"aws\.table is not set.*REALTIME_AWS__TABLE"):
            read().aws.require("table")
        assert read().local.require() == read().local

    def test_a_single_setting(self):
        name = "REALTIME_PUSHER__ENCRYPTION_MASTER_KEY"
        with pytest.raises(ConfigurationError, match=f"set {name}$"):
            read().pusher.require("encryption_master_key")


class TestMapping:
    """Flask's `app.config` over the environment."""

    def test_goes_before_the_environment(self):
        settings = RealtimeSettings.from_mapping(
            {"REALTIME_PORT": 7001, "REALTIME_PUSHER__KEYS": ["k:s"], "DEBUG": True},
            environ={"REALTIME_PORT": "7002", "REALTIME_PUSHER__KEYS": "x:y", "PUSHER_APP_ID": "9"},
        )
        assert settings.port == 7001
        assert pairs(settings.pusher.keys) == ["k:s"]
        assert settings.pusher.app_id == "9"

    def test_without_an_environment_the_processs_own(self, monkeypatch):
        monkeypatch.setenv("REALTIME_PROVIDER", "null")
        assert RealtimeSettings.from_mapping({}).provider == "null"
        assert RealtimeSettings.from_mapping({"REALTIME_PROVIDER": "log"}).provider == "log"

    def test_only_our_names_are_taken(self):
        mapping = {"PUSHER_URL": PUSHER_URL, "PROVIDER": "x", "provider": "y"}
        assert RealtimeSettings.from_mapping(mapping, environ={}) == read()

    def test_none_is_unset(self):
        mapping = {"REALTIME_PROVIDER": None}
        assert RealtimeSettings.from_mapping(mapping, environ={}).provider is None

    def test_a_false_value_is_a_value(self):
        mapping = {"REALTIME_PUSHER__TLS": False}
        assert RealtimeSettings.from_mapping(mapping, environ={}).pusher.tls is False

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(ConfigurationError, match="nearest is REALTIME_WEB__PREFIX"):
            RealtimeSettings.from_mapping({"REALTIME_PREFIX": "/x"}, environ={})


LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "auth"}


class TestLambda:
    def test_an_unset_provider_is_an_error(self):
        settings = read(LAMBDA)
        assert settings.on_lambda
        with pytest.raises(ConfigurationError, match="set REALTIME_PROVIDER"):
            _ = settings.provider_name

    def test_a_set_one_is_not(self):
        assert read({**LAMBDA, "REALTIME_PROVIDER": "null"}).provider_name == "null"

    def test_elsewhere_it_is_local(self):
        assert not read().on_lambda
        assert read().provider_name == "local"


class TestPublishedCredentials:
    OWN: ClassVar = {"REALTIME_LOCAL__KEYS": f"k:{SECRET}"}

    @pytest.mark.parametrize("address", [None, "127.0.0.1", "127.9.9.9", "::1", "localhost"])
    @pytest.mark.parametrize("development", [None, True])
    def test_are_for_this_machine(self, address, development):
        read().check_credentials(address=address, development=development)

    @pytest.mark.parametrize(
        ("environ", "where", "named"),
        [
            ({}, {"address": ANYWHERE}, "on 0.0.0.0"),
            ({}, {"address": "::"}, "on ::"),
            ({}, {"address": "192.168.1.5", "development": True}, "on 192.168.1.5"),
            ({}, {"address": "example.com"}, "on example.com"),
            ({}, {"address": "127.0.0.1.example.com"}, "on 127.0.0.1.example.com"),
            ({}, {"development": False}, "outside debug and testing"),
            ({"REALTIME_LOCAL__HOST": "realtime"}, {}, "on realtime"),
            ({"REALTIME_LOCAL__PUBLIC_HOST": "example.com"}, {}, "on example.com"),
            ({**LAMBDA, "REALTIME_PROVIDER": "local"}, {}, "on Lambda"),
            ({**LAMBDA, "REALTIME_PROVIDER": "local"}, {"development": True}, "on Lambda"),
            ({"REALTIME_LOCAL__KEYS": "new:s,app-key:app-secret"}, {"address": "::"}, "on ::"),
        ],
    )
    def test_are_refused_where_others_could_use_them(self, environ, where, named):
        with pytest.raises(ConfigurationError) as caught:
            read(environ).check_credentials(**where)
        assert f"refused {named}" in str(caught.value)
        assert "set REALTIME_LOCAL__KEYS" in str(caught.value)

    @pytest.mark.parametrize("where", [{"address": ANYWHERE}, {"development": False}])
    def test_ones_own_go_anywhere(self, where):
        read(self.OWN).check_credentials(**where)
        read({**self.OWN, **LAMBDA, "REALTIME_PROVIDER": "local"}).check_credentials(**where)

    @pytest.mark.parametrize("provider", ["null", "log", "ably"])
    def test_only_the_provider_in_use_counts(self, provider):
        read({**LAMBDA, "REALTIME_PROVIDER": provider}).check_credentials(development=False)
        read().check_credentials(provider=provider, development=False)

    def test_pusher_with_them_is_the_embedded_server(self):
        url = "http://app-key:app-secret@127.0.0.1:6001/apps/1"
        settings = read({"REALTIME_PROVIDER": "pusher", "PUSHER_URL": url})
        settings.check_credentials(development=True)
        with pytest.raises(ConfigurationError, match="set REALTIME_PUSHER__KEYS"):
            settings.check_credentials(development=False)
        far = {"REALTIME_PROVIDER": "pusher", "PUSHER_URL": url.replace("127.0.0.1", "push")}
        with pytest.raises(ConfigurationError, match="refused on push"):
            read(far).check_credentials()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("app.localhost", True),
        ("LOCALHOST", True),
        (ANYWHERE, False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_is_loopback(host, loopback):
    assert is_loopback(host) is loopback


def test_values_are_checked():
    for name, value in [
        ("REALTIME_PORT", "65536"),
        ("REALTIME_PORT", "-1"),
        ("REALTIME_PUSHER__PORT", "0"),
        ("REALTIME_PUSHER__TIMEOUT", "0"),
        ("REALTIME_LOCAL__TIMEOUT", "-3"),
        ("REALTIME_ON_ERROR", "ignore"),
        ("REALTIME_WEB__PREFIX", "realtime"),
    ]:
        with pytest.raises(ConfigurationError, match=name):
            read({name: value})


def test_the_documentation_has_every_name(checkout):
    text = (checkout / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(REALTIME_[A-Z_]+)`", text, re.MULTILINE)
    assert sorted(rows) == sorted(names())
