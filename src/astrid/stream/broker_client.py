"""The connection to a Kafka broker: made, waited for, and explained where it fails.

What is read and written through it is the business of `kafka` and `topic_sink`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from astrid.errors import DependencyError, StreamError, UsageError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

__all__ = ["PATIENCE", "broker_client", "explain", "refused", "wait_for_broker"]

PATIENCE = 20.0
"""Seconds for a broker to answer at the start."""

_SLICE = 1.0  # s of waiting at a time, so that a refusal is told at once


def broker_client(kind: str, settings: dict[str, Any], on_error: Any, name: str) -> Any:
    """A client of confluent-kafka: ``Consumer`` or ``Producer``.

    Parameters
    ----------
    kind : str
    settings : dict
        For librdkafka.
    on_error : callable
        Told each KafkaError.
    name : str
        Of the broker, for messages.

    Raises
    ------
    DependencyError
        confluent-kafka is not installed.
    UsageError
        librdkafka does not take the settings.
    """
    try:
        import confluent_kafka
    except ImportError as error:
        raise DependencyError(
            'streams of Kafka need confluent-kafka; pip install "astrid[stream]"'
        ) from error
    # what librdkafka would print on its own comes to `on_error` anyway
    told = {**settings, "client.id": "astrid", "log_level": 0, "error_cb": on_error}
    try:
        return getattr(confluent_kafka, kind)(told)
    except confluent_kafka.KafkaException as error:
        raise UsageError(f"the settings of broker {name} cannot be used: {explain(error.args[0])}") from error


def wait_for_broker(client: Any, name: str, errors: deque[KafkaError], patience: float) -> dict[str, Any]:
    """The topics of a broker, as soon as it answers.

    Parameters
    ----------
    client : Consumer or Producer
    name : str
    errors : deque of KafkaError
        To which the client's callback adds.
    patience : float, s

    Raises
    ------
    StreamError
        It does not answer, or refuses.
    """
    from confluent_kafka import KafkaException

    end = time.monotonic() + patience
    errors.clear()
    while True:
        try:
            return dict(client.list_topics(timeout=max(0.1, min(_SLICE, end - time.monotonic()))).topics)
        except KafkaException as error:
            client.poll(0)  # brings what the client's threads have seen
            last: KafkaError = error.args[0]
            for seen in errors:
                if refused(seen):
                    raise StreamError(f"{name} refuses: {explain(seen)}") from error
                last = seen if seen.str() and not seen.str().endswith("brokers are down") else last
            if time.monotonic() >= end:
                raise StreamError(
                    f"{name} cannot be reached within {patience:.0f} s: {explain(last)}; check the address "
                    "and the network"
                ) from error


def explain(error: KafkaError) -> str:
    """What an error means for who uses it; librdkafka's messages name addresses, never secrets."""
    from confluent_kafka import KafkaError

    text = " ".join(error.str().split()).partition(" (after ")[0]
    known = {
        KafkaError._AUTHENTICATION: "authentication failed, check protocol, mechanism, username and password",
        KafkaError.SASL_AUTHENTICATION_FAILED: "authentication failed, check username and password",
        KafkaError.UNSUPPORTED_SASL_MECHANISM: "authentication failed, it does not know the mechanism",
        KafkaError._SSL: "its certificate is not trusted or TLS failed, check protocol and ca",
        KafkaError.TOPIC_AUTHORIZATION_FAILED: "this user may not use the topic, ask its operators",
        KafkaError.GROUP_AUTHORIZATION_FAILED: "this user may not use the consumer group, give another",
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: "this user may not do that, ask its operators",
    }
    meaning = known.get(error.code())
    return f"{meaning} ({text})" if meaning else text or error.name()


def refused(error: KafkaError) -> bool:
    """Whether it is of no use to try again."""
    from confluent_kafka import KafkaError

    return error.code() in (
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError._SSL,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )
