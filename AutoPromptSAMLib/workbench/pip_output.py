"""What pip says while it installs: every line as it comes, and what a failure means for the person in front of it."""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.workbench.language import tr as _


class InstallError(AutoPromptSAMError):
    """A package could not be installed; what was installed before stays, and Install goes on from there."""


# What pip, its network library and the operating systems write, in this order: the certificate and the disk are
# also reported as failed connections and as missing versions, so the more telling ones come first.
_SIGNS = (
    ("certificate", r"SSLError|CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError"),
    ("disk", r"No space left on device|Errno 28\b|WinError 112|not enough space on the disk"),
    ("in use", r"WinError 32|being used by another process|WinError 5\].*\.(pyd|dll)|Access is denied.*\.(pyd|dll)"),
    ("permission", r"Permission denied|PermissionError|Access is denied|WinError 5\b|Read-only file system"),
    ("proxy", r"ProxyError|Cannot connect to proxy|Tunnel connection failed|407 Proxy"),
    (
        "offline",
        r"NameResolutionError|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Network is unreachable"
        r"|getaddrinfo failed|Temporary failure in name resolution|Connection refused|Connection aborted"
        r"|ConnectionResetError|Read timed out",
    ),
    ("conflict", r"ResolutionImpossible|conflicting dependencies"),
    ("no wheel", r"No matching distribution found|Could not find a version that satisfies"),
)


def explain(package: str, lines: Iterable[str]) -> InstallError:
    """The error for a failed installation of ``package``: one sentence with the next step, from pip's output."""
    text = "\n".join(lines)
    kind = next((kind for kind, pattern in _SIGNS if re.search(pattern, text, re.IGNORECASE)), "")
    proxy = _proxy()
    # A proxy that does not answer looks like a server that does not answer.
    if kind == "offline" and proxy:
        kind = "proxy"
    sentences = {
        "certificate": _(
            "The secure connection for {package} could not be verified; if your network inspects traffic, set "
            "PIP_CERT and REQUESTS_CA_BUNDLE to its certificate file before starting Slicer, and press Install again."
        ),
        "disk": _(
            "The disk is full, so {package} could not be installed; free some space and press Install again, which "
            "goes on from here."
        ),
        "in use": _(
            "{package} could not be replaced because Slicer is using its files; restart Slicer and press Install "
            "before using other modules."
        ),
        "permission": _(
            "Slicer may not write {package} into its own folder ({folder}); install Slicer in a folder of yours, or "
            "start it once with the rights to write there, and press Install again."
        ),
        "proxy": _(
            "The proxy {proxy} did not let {package} through; correct HTTPS_PROXY (http://name:password@host:port) "
            "before starting Slicer, and press Install again, which goes on from here."
        ),
        "offline": _(
            "{package} could not be downloaded because the package server does not answer; connect to the internet, "
            "or set HTTPS_PROXY (http://name:password@host:port) before starting Slicer if your network has a proxy, "
            "and press Install again, which goes on from here."
        ),
        "conflict": _(
            "{package} does not go together with packages that other extensions installed; see the log for their "
            "names, update or uninstall those extensions, and press Install again."
        ),
        "no wheel": _(
            "There is no ready-made {package} for this system ({system}), or the package server cannot be reached; "
            "check the internet connection, or use a newer Slicer (on a Mac with Apple silicon, its arm64 version)."
        ),
        "": _("{package} could not be installed; see the end of the log for the reason, and press Install again."),
    }
    return InstallError(
        sentences[kind].format(
            package=package,
            proxy=proxy or _("of your network"),
            folder=sys.prefix,
            system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        )
    )


def _proxy() -> str:
    """Host and port of the proxy that pip uses, without name and password; empty when there is none."""
    proxies = getproxies()
    parts = urlsplit(proxies.get("https") or proxies.get("http") or "")
    return parts.netloc.rpartition("@")[2]


@contextlib.contextmanager
def listening(on_line: Callable[[str], None]) -> Iterator[None]:
    """Hear every line that is printed or logged meanwhile.

    Slicer 5.10 and the extension PyTorch run pip themselves and pass its output on to the Python console or to the
    application's log, whichever the version does, and to nobody else.
    """
    handler = _Handler(on_line)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(_Tee(sys.stdout, on_line)):
            yield
    finally:
        root.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, on_line: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.on_line = on_line

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message of the application's log on."""
        for line in record.getMessage().splitlines():
            self.on_line(line)


class _Tee:
    """A stream that writes to another one and passes whole lines on."""

    def __init__(self, stream: Any, on_line: Callable[[str], None]) -> None:
        self.stream, self.on_line, self._rest = stream, on_line, ""

    def write(self, text: str) -> int:
        """Write as the other stream does."""
        self.stream.write(text)
        *lines, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
        for line in lines:
            self.on_line(line)
        return len(text)

    def flush(self) -> None:
        """Flush as the other stream does."""
        if hasattr(self.stream, "flush"):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
