"""Brokers as their operators describe them: what the client is told, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid.errors import UsageError
from astrid.stream.brokers import parse_address, read_brokers

FILE = """
[brokers.ztf]
servers = ["public.alerts.ztf.uw.edu:9092"]

[brokers.rubin]
servers = "alert-stream-int.lsst.cloud:9094"
protocol = "SASL_SSL"
mechanism = "SCRAM-SHA-512"
username = "ours-int"
password_env = "TEST_BROKER_PASSWORD"

[brokers.alerce]
servers = ["kafka.alerce.science:9093"]
protocol = "SASL_SSL"
mechanism = "SCRAM-SHA-256"
username = "me"
password_file = "secrets/alerce"
group = "me-group"

[brokers.antares]
servers = ["kafka.antares.noirlab.edu:9092"]
protocol = "SASL_SSL"
mechanism = "PLAIN"
username = "key"
password_env = "TEST_BROKER_PASSWORD"
ca = "antares.pem"

[brokers.babamul]
servers = ["kaboom.caltech.edu:9093", "babamul.umn.edu:9093"]
protocol = "SASL_PLAINTEXT"
mechanism = "SCRAM-SHA-512"
username = "me"
password_env = "TEST_BROKER_PASSWORD"
session = 10

[brokers.gcn]
servers = ["kafka.gcn.nasa.gov"]
protocol = "SASL_SSL"
mechanism = "OAUTHBEARER"
username = "client-id"
password_env = "TEST_BROKER_PASSWORD"
token_url = "https://auth.gcn.nasa.gov/oauth2/token"
scope = "gcn.nasa.gov/kafka-public-consumer"

[brokers.hop]
servers = ["kafka.scimma.org:9092"]
protocol = "SASL_SSL"
mechanism = "SCRAM-SHA-512"
username = "me"
password_env = "TEST_BROKER_PASSWORD"
"""
SECRET = "open-sesame"
TOKEN = "username = 'u'\npassword_env = 'X'\ntoken_url = 'http://open-sesame'"


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "brokers.toml"
    path.write_text(FILE)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "alerce").write_text("from the file\n")
    (tmp_path / "antares.pem").write_text("")
    monkeypatch.setenv("TEST_BROKER_PASSWORD", SECRET)
    monkeypatch.delenv("ASTRID_BROKERS", raising=False)
    return path


def scram(server: str, kind: str, protocol: str, user: str, password: str = SECRET) -> dict[str, str]:
    return {
        "bootstrap.servers": server,
        "security.protocol": protocol,
        "sasl.mechanism": kind,
        "sasl.username": user,
        "sasl.password": password,
    }


def test_the_client_is_told_what_each_broker_asks_for(file):
    # as their own clients and documentation have it
    expected = {
        "ztf": {"bootstrap.servers": "public.alerts.ztf.uw.edu:9092"},
        "rubin": scram("alert-stream-int.lsst.cloud:9094", "SCRAM-SHA-512", "SASL_SSL", "ours-int"),
        "alerce": scram("kafka.alerce.science:9093", "SCRAM-SHA-256", "SASL_SSL", "me", "from the file"),
        "antares": scram("kafka.antares.noirlab.edu:9092", "PLAIN", "SASL_SSL", "key")
        | {"ssl.ca.location": str(file.parent / "antares.pem")},
        "babamul": scram(
            "kaboom.caltech.edu:9093,babamul.umn.edu:9093", "SCRAM-SHA-512", "SASL_PLAINTEXT", "me"
        ),
        "gcn": {
            "bootstrap.servers": "kafka.gcn.nasa.gov",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "client-id",
            "sasl.oauthbearer.client.secret": SECRET,
            "sasl.oauthbearer.token.endpoint.url": "https://auth.gcn.nasa.gov/oauth2/token",
            "sasl.oauthbearer.scope": "gcn.nasa.gov/kafka-public-consumer",
        },
        "hop": scram("kafka.scimma.org:9092", "SCRAM-SHA-512", "SASL_SSL", "me"),
    }
    assert {name: broker.settings() for name, broker in read_brokers(file).items()} == expected


def test_librdkafka_takes_all_of_them(file):
    from confluent_kafka import Consumer

    for name, broker in read_brokers(file).items():
        if name != "antares":  # its file of certificates is empty here
            settings = {**broker.settings(), "group.id": "test", "log_level": 0}
            settings["bootstrap.servers"] = "127.0.0.1:1"  # nobody is really asked
            if "sasl.oauthbearer.token.endpoint.url" in settings:
                settings["sasl.oauthbearer.token.endpoint.url"] = "https://127.0.0.1:1/token"
            Consumer(settings).close()


def test_addresses_name_brokers_topics_and_a_group(file, monkeypatch):
    one = parse_address("kafka://alerce/a,b", file)
    assert (one.name, one.topics, one.group) == ("alerce", ("a", "b"), "me-group")
    assert parse_address("kafka://rubin/t", file).group == "ours-int-astrid"
    assert parse_address("kafka://rubin/t", file, "mine").group == "mine"
    assert parse_address("kafka://rubin/t?group=asked", file, "mine").group == "asked"
    plain = parse_address("kafka://h:1,i:2/^ztf_[0-9]{8}_programid1$")
    assert plain.broker.servers == ("h:1", "i:2")
    assert plain.topics == ("^ztf_[0-9]{8}_programid1$",)
    assert plain.group == "astrid"
    monkeypatch.setenv("ASTRID_BROKERS", str(file))
    assert parse_address("kafka://hop/t").broker.mechanism == "SCRAM-SHA-512"


def test_secrets_are_in_no_text(file):
    shown = repr(read_brokers(file)) + repr(parse_address("kafka://alerce/t", file))
    assert SECRET not in shown
    assert "from the file" not in shown


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("kafka://me:open-sesame@h:1/t", "must not hold a name and password"),
        ("kafka://nobody/t", r"no broker is called 'nobody' \(known: alerce, antares, babamul"),
        ("kafka://alerce", "no address of a topic"),
        ("kafka:///t", "no address of a topic"),
        ("kafka://alerce/?group=x", "no address of a topic"),
        ("http://alerce/t", "no address of a topic"),
    ],
)
def test_wrong_addresses_are_explained(file, address, match):
    with pytest.raises(UsageError, match=match) as caught:
        parse_address(address, file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[brokers.a]\nservers = ['h:1']\npassword = 'open-sesame'", "has a password in it"),
        (
            "[brokers.a]\nservers = ['h:1']\nsecret_word = 'open-sesame'",
            "brokers.a cannot be used: secret_word: Extra",
        ),
        ("[brokers.a]\nservers = ['h:1']\nprotocol = 'SASL_SSL'", "needs mechanism and username"),
        (
            "[brokers.a]\nservers = 'h:1'\nprotocol = 'SASL_SSL'\nmechanism = 'PLAIN'\nusername = 'u'",
            "needs password_env or password_file",
        ),
        ("[brokers.a]\nservers = []", "servers is empty"),
        ("[brokers.a]\nservers = 'h:1'\nprotocol = 'open-sesame'", "protocol: Input should be"),
        ("[brokers.a]\nservers = 'h:1'\nmechanism = 'PLAIN'", "has no mechanism"),
        (
            "[brokers.a]\nservers = 'h:1'\nprotocol = 'SASL_SSL'\nmechanism = 'OAUTHBEARER'\n" + TOKEN,
            "must begin with https://",
        ),
        ("password = open-sesame", "not a readable TOML file"),
        ("[broker.a]\nservers = 'h:1'", r"expected tables \[brokers.NAME\]"),
        ("[brokers]\na = 1", "is no table"),
    ],
)
def test_wrong_files_are_explained_without_repeating_what_is_in_them(tmp_path, text, match):
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(UsageError, match=match) as caught:
        read_brokers(tmp_path / "b.toml")
    assert SECRET not in str(caught.value)


def test_missing_files_and_secrets_are_named(file, monkeypatch):
    with pytest.raises(UsageError, match="no such file of brokers"):
        read_brokers(file.parent / "none.toml")
    brokers = read_brokers(file)
    monkeypatch.delenv("TEST_BROKER_PASSWORD")
    with pytest.raises(UsageError, match="environment variable TEST_BROKER_PASSWORD should hold a password"):
        brokers["hop"].settings()
    (file.parent / "secrets" / "alerce").unlink()
    with pytest.raises(UsageError, match="cannot be read; check password_file"):
        brokers["alerce"].settings()
    (file.parent / "antares.pem").unlink()
    with pytest.raises(UsageError, match="no such file of certificates"):
        brokers["antares"].settings()
