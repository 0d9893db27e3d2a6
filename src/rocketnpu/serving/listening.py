"""Where a server listens, and whom that lets in."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from rocketnpu.errors import DeviceError, InputError
from rocketnpu.files.reading import read_file

TOKEN_VARIABLE = "ROCKETNPU_TOKEN"
_TOKEN_BYTES, _LEAST_TOKEN = 4096, 16
_PEM_BYTES = 1 << 20
_BACKLOG = 128


@dataclass(frozen=True)
class Door:
    """Where clients come in."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    open_to_all: bool = False
    """Whether anybody who reaches it may use it, from other machines too."""
    certificate: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        """Of its address."""
        return "http" if self.certificate is None else "https"

    def check(self) -> list[str]:
        """Return warnings about it.

        Raises:
            InputError: other machines reach it, and nothing keeps anybody out; or the certificate cannot be used.
        """
        if (self.certificate is None) != (self.key is None):
            raise InputError("TLS needs both a certificate and its key")
        if self.certificate is not None:
            self._check_certificate()
        if is_loopback(self.host):
            return []
        if self.token is None and not self.open_to_all:
            raise InputError(
                f"{self.host} can be reached from other machines, and nothing keeps anybody out: give --token-file, or "
                "--no-token if all who reach it may use it"
            )
        if self.token is None:
            return [f"anybody who reaches {self.host} can use this server"]
        return [] if self.certificate else ["the token and all pictures travel unencrypted: give --certificate, --key"]

    def _check_certificate(self) -> None:
        for path in (self.certificate, self.key):
            read_file(str(path), _PEM_BYTES, "TLS file", InputError)  # OpenSSL would wait for a pipe
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(str(self.certificate), str(self.key), password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "it has another key, or a pass phrase"
            raise InputError(f"certificate {self.certificate} with key {self.key} cannot be used: {reason}") from None

    def listen(self) -> socket.socket:
        """Open the socket.

        Raises:
            DeviceError: there is no such address here, or the port is taken or not allowed.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            # asyncio sends without delay only on sockets that say that they are TCP, which create_server's do not.
            made = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError) as error:
            raise self._refused(error) from None
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            raise self._refused(error) from None
        return made

    def _refused(self, error: Exception) -> DeviceError:
        reason = getattr(error, "strerror", None) or str(error)
        return DeviceError(f"cannot listen at {self.host} port {self.port}: {reason}")


def is_loopback(host: str) -> bool:
    """Say whether a host's name leads to this machine alone."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def token_from(path: Path | None) -> str | None:
    """Return the token of a file, else of the environment, else None.

    Raises:
        InputError: the file cannot be read, or what it holds is no token: printable ASCII without blanks, long enough
            not to be guessed.
    """
    if path is None:
        text = os.environ.get(TOKEN_VARIABLE)
        where = f"environment variable {TOKEN_VARIABLE}"
    else:
        text = read_file(path, _TOKEN_BYTES, "token file", InputError).decode("utf-8", "replace").strip()
        where = f"token file {path}"
    if text is None:
        return None
    if len(text) < _LEAST_TOKEN or not all("!" <= letter <= "~" for letter in text):
        raise InputError(
            f"{where} holds no token of at least {_LEAST_TOKEN} printable characters without blanks; one such is "
            f"{secrets.token_urlsafe(_LEAST_TOKEN)}"
        )
    return text
