"""What to do about a connection to the broker that fails, or that lets everybody in."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.adapters.broker import BrokerSettings
    from node.config.sections import MqttConfig

CONNECT_TIMEOUT_S = 5.0
"""How long a broker may take to answer; paho's own limit is the same."""

CLOCK_ERRORS = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
NAME_ERRORS = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def anonymous_warning(mqtt: MqttConfig) -> str | None:
    """What it means that nobody is asked who they are; None where that is not so, or harmless."""
    if mqtt.username is not None or mqtt.tls.cert_file or is_loopback(mqtt.host):
        return None
    return (
        f"anonymous, and {mqtt.host} is not this machine: whoever reaches it can read"
        " along and start recordings; set mqtt.username and mqtt.password_file"
    )


def plain_password_warning(mqtt: MqttConfig) -> str | None:
    """That a password crosses the network for all to read; None where it does not."""
    if mqtt.password_file is None or mqtt.tls.enabled or is_loopback(mqtt.host):
        return None
    return (
        f"the password and everything said goes to {mqtt.host} unencrypted;"
        " set mqtt.tls.enabled: true and mqtt.tls.ca_file"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host.lower().rstrip(".") == "localhost"


def connection_advice(settings: BrokerSettings, error: OSError | None) -> str:
    """What to do about a connection that cannot be made, or (None) ends before an answer."""
    return no_answer_advice(settings) if error is None else network_advice(error, settings)


def network_advice(error: OSError, settings: BrokerSettings) -> str:
    """What to do where there is no connection, or TLS fails, because of `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_advice(error)
    if isinstance(error, ssl.SSLError | ConnectionResetError | EOFError) and settings.tls:
        return (
            "it does not speak TLS there: correct mqtt.port (usually 8883), or set"
            f" mqtt.tls.enabled: false ({error.strerror or error})"
        )
    if isinstance(error, socket.gaierror):
        return f"nobody knows this name ({error.strerror}): correct mqtt.host, or give an address"
    if isinstance(error, ConnectionRefusedError):
        return "no broker listens there: start it, or correct mqtt.host and mqtt.port"
    if isinstance(error, TimeoutError):
        seconds = f"{CONNECT_TIMEOUT_S:g} s"
        return f"no answer within {seconds}: is the machine on, and does a firewall block it?"
    return f"not reachable ({error.strerror or error}): check the network and mqtt.host"


def _certificate_advice(error: ssl.SSLCertVerificationError) -> str:
    what = f"its certificate is not accepted: {error.verify_message}"
    if error.verify_code in CLOCK_ERRORS:
        return f"{what}; renew it, or set the clock of this machine"
    if error.verify_code in NAME_ERRORS:
        return f"{what}; set mqtt.host to the name in the certificate"
    return f"{what}; set mqtt.tls.ca_file to the certificate of the authority that signed it"


def no_answer_advice(settings: BrokerSettings) -> str:
    """What to do where the connection ends before the broker has answered."""
    cause = "this port wants TLS (mqtt.tls.enabled: true)"
    if settings.tls:
        cause = "it wants a client certificate, or not the one it got (mqtt.tls.cert_file)"
    return f"it answers no MQTT connect: {cause}, it is no broker, or it hangs; see its log"
