"""Advice for a broker connection that fails, or that anybody could use."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

from node.adapters.broker import CONNECT_TIMEOUT_S, PROTOCOL_ERROR, NoWebSocket, ask
from node.core.addresses import is_loopback

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

    from node.adapters.broker import BrokerSettings, Trouble
    from node.config import Config
    from node.config.sections import MqttConfig

CLOCK_ERRORS = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
NAME_ERRORS = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
CA_ERRORS = {79, 89, 92}
"""X509_V_ERR_INVALID_CA, …CA_BCONS_NOT_CRITICAL and …CA_CERT_MISSING_KEY_USAGE; Python has checked
the last two since 3.13 (VERIFY_X509_STRICT)."""
KEY_ID_ERRORS = {85, 86}
"""X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER and …SUBJECT_KEY_IDENTIFIER; also since 3.13."""

NEW_CA = (
    "openssl req -x509 -key ca.key -out ca.crt -days 3650 -subj '/CN=its old name'"
    " -addext keyUsage=critical,keyCertSign,cRLSign"
)

UNSUPPORTED_PROTOCOL, BAD_CLIENT_ID = 0x84, 0x85
BAD_LOGIN, NOT_AUTHORIZED, UNAVAILABLE, BUSY, BANNED = 0x86, 0x87, 0x88, 0x89, 0x8A
NO_RETAIN, NO_QOS_1 = 0x9A, 0x9B
"""Reason codes of CONNACK (MQTT 5, 3.2.2.2); paho maps the return codes of 3.1.1 to these.

PROTOCOL_ERROR is also what paho reports for an answer it cannot parse, or when 3.1.1 itself is
refused.
"""


def anonymous_warning(mqtt: MqttConfig) -> str | None:
    """Return a warning if the node logs in to a remote broker without credentials, else None."""
    known = mqtt.username is not None or mqtt.password_file is not None or mqtt.tls.cert_file
    if known or is_loopback(mqtt.host):
        return None
    return (
        f"anonymous, and {mqtt.host} is not this machine: anybody who can reach it can read"
        " everything and start recordings; set mqtt.username and mqtt.password_file"
    )


def plain_password_warning(mqtt: MqttConfig) -> str | None:
    """Return a warning if the password crosses the network unencrypted, else None."""
    if mqtt.password_file is None or mqtt.tls.enabled or is_loopback(mqtt.host):
        return None
    return (
        f"the password and everything said go to {mqtt.host} unencrypted;"
        " set mqtt.tls.enabled: true and mqtt.tls.ca_file"
    )


def sound_warning(config: Config) -> str | None:
    """Return what leaves this machine, and how safely; None if no sound does."""
    where, mqtt = config.transcription.where, config.mqtt
    if where == "here":
        return None
    how = "all sound of what people say" if where == "broker" else "sound of what people say"
    text = (
        f"transcription.where is {where}: {how} is sent to workers through the broker {mqtt.host}"
    )
    if mqtt.tls.enabled or is_loopback(mqtt.host):
        return text
    return f"{text}, unencrypted; set mqtt.tls.enabled: true and mqtt.tls.ca_file"


def connection_advice(settings: BrokerSettings, trouble: Trouble) -> str:
    """Return what to do about a connection that cannot be made.

    If the broker closed it without an answer, try the other version of MQTT, which takes at most
    `CONNECT_TIMEOUT_S`.
    """
    if isinstance(trouble, OSError):
        return network_advice(trouble, settings)
    if trouble is not None:
        return refusal_advice(trouble, settings)
    if _answers_in_other_version(settings):
        return _version_advice(settings)
    return no_answer_advice(settings)


def _answers_in_other_version(settings: BrokerSettings) -> bool:
    other = replace(
        settings, protocol=_other(settings), client_id=f"{settings.client_id}:{_other(settings)}"
    )
    try:
        answer = ask(other)
    except OSError:
        return False
    return answer is not None and answer[0].value not in {PROTOCOL_ERROR, UNSUPPORTED_PROTOCOL}


def _other(settings: BrokerSettings) -> str:
    return "3.1.1" if settings.protocol == "5" else "5"


def _version_advice(settings: BrokerSettings) -> str:
    return f'it does not speak MQTT {settings.protocol}; set mqtt.protocol: "{_other(settings)}"'


def refusal_advice(reason: ReasonCode, settings: BrokerSettings) -> str:
    """Return what to do if the broker answered with a refusal."""
    code = reason.value
    if code == UNSUPPORTED_PROTOCOL:
        advice = _version_advice(settings)
    elif code == PROTOCOL_ERROR:
        advice = (
            f'its answer is not MQTT {settings.protocol}: set mqtt.protocol: "{_other(settings)}",'
            " or correct mqtt.port if this is another kind of server"
        )
    elif code in {BAD_LOGIN, NOT_AUTHORIZED}:
        advice = _login_advice(settings)
    else:
        advice = {
            BAD_CLIENT_ID: f"it does not accept the client id {settings.client_id}; change node.id",
            UNAVAILABLE: "it is unavailable; try again, and see its log",
            BUSY: "it is busy; try again, and see its log",
            BANNED: "it has banned this client; see its configuration",
            NO_RETAIN: "it has no retained messages, which the node needs; allow them there",
            NO_QOS_1: "it has no QoS 1, which the node needs; allow it there",
        }.get(code, "see its log")
    return f"{advice} ({reason})"


def _login_advice(settings: BrokerSettings) -> str:
    if settings.username is not None:
        return (
            f"it does not accept user {settings.username} with this password; correct mqtt.username"
            " or the content of mqtt.password_file, or allow this user on the broker"
        )
    if settings.password is not None:
        return (
            "it does not accept a password without a user; set mqtt.username, or correct the"
            " content of mqtt.password_file"
        )
    return "it requires a login; set mqtt.username and mqtt.password_file"


def network_advice(error: OSError, settings: BrokerSettings) -> str:
    """Return what to do if connecting, or TLS, fails with `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_advice(error, settings)
    if isinstance(error, NoWebSocket):
        return _websocket_advice(settings)
    if isinstance(error, ssl.SSLError | ConnectionResetError | EOFError) and settings.tls:
        return (
            "it does not speak TLS there: correct mqtt.port (usually 8883), or set"
            f" mqtt.tls.enabled: false ({error.strerror or error})"
        )
    return _address_advice(error)


def _address_advice(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"unknown host name ({error.strerror}): correct mqtt.host, or give an address"
    if isinstance(error, ConnectionRefusedError):
        return "no broker listens there: start it, or correct mqtt.host and mqtt.port"
    if isinstance(error, TimeoutError):
        seconds = f"{CONNECT_TIMEOUT_S:g} s"
        return f"no answer within {seconds}: is the machine on, or does a firewall block it?"
    return f"not reachable ({error.strerror or error}): check the network and mqtt.host"


def _websocket_advice(settings: BrokerSettings) -> str:
    other = "" if settings.tls else " this port may need TLS (mqtt.tls.enabled: true);"
    return (
        f"it opens no WebSocket at {settings.websocket_path}: correct mqtt.port and"
        f" mqtt.websocket_path;{other} if it is a port for plain MQTT, set mqtt.transport: tcp"
    )


def _certificate_advice(error: ssl.SSLCertVerificationError, settings: BrokerSettings) -> str:
    what = f"its certificate is not accepted: {error.verify_message}"
    own_ca = settings.tls_ca_file is not None
    if error.verify_code in CLOCK_ERRORS:
        return f"{what}; renew it, or set the clock of this machine"
    if error.verify_code in NAME_ERRORS:
        return f"{what}; set mqtt.host to the name in the certificate"
    if error.verify_code in CA_ERRORS and own_ca:
        return (
            f"{what}: the authority in mqtt.tls.ca_file ({settings.tls_ca_file}) lacks extensions"
            " that Python 3.13 and later require. Make its certificate again with the same key and"
            f" name; what it has signed stays valid: {NEW_CA}"
        )
    if error.verify_code in KEY_ID_ERRORS:
        return (
            f"{what}: Python 3.13 and later require it. Sign the broker's certificate again, with"
            " the extensions subjectKeyIdentifier=hash and authorityKeyIdentifier=keyid"
        )
    if own_ca:
        return (
            f"{what}; mqtt.tls.ca_file ({settings.tls_ca_file}) must hold the certificate of the"
            " authority that signed it"
        )
    return f"{what}; set mqtt.tls.ca_file to the certificate of the authority that signed it"


def no_answer_advice(settings: BrokerSettings) -> str:
    """Return what to do if the connection ends before the broker has answered."""
    cause = "this port needs TLS (mqtt.tls.enabled: true)"
    if settings.websocket_path is None:
        cause += " or WebSockets (mqtt.transport: websockets)"
    if settings.tls:
        cause = "it needs a client certificate, or a different one (mqtt.tls.cert_file)"
    return f"no answer to an MQTT connect: {cause}, it is not a broker, or it hangs; see its log"
