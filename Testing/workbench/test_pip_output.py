"""What pip says when it fails, made into one sentence with the next step; and hearing what it says."""

from __future__ import annotations

import logging
import sys
import types

import pytest

from AutoPromptSAMLib.workbench import pip_output

# pip's own words, from runs of pip 26 with no network, a proxy that is off, and impossible wishes.
RETRY = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by "
NO_VERSION = "ERROR: Could not find a version that satisfies the requirement timm (from versions: none)"
OFFLINE = [RETRY + "'NameResolutionError(\"Failed to resolve 'pypi.org'\")': /simple/timm/", NO_VERSION]
REFUSED = [RETRY + "'NewConnectionError(\"[Errno 111] Connection refused\")': /simple/timm/", NO_VERSION]
SAYS = {
    "server does not answer; connect to the internet": OFFLINE,
    "disk is full": ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
    "may not write": ["ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/opt/S'"],
    "is using its files; restart Slicer": ["OSError: [WinError 5] Access is denied: 'C:\\\\torch\\\\lib\\\\c10.dll'"],
    "PIP_CERT": ["SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", NO_VERSION],
    "update or uninstall those extensions": ["ERROR: ResolutionImpossible: for help visit https://pip.pypa.io"],
    "no ready-made timm for this system": [NO_VERSION, "ERROR: No matching distribution found for timm"],
    "see the end of the log": ["something else altogether"],
}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("part", SAYS)
def test_a_failure_is_one_sentence_with_the_next_step(part):
    text = str(pip_output.explain("timm", SAYS[part]))
    assert part in text
    assert "timm" in text
    assert "{" not in text
    assert text.count(". ") == 0
    assert text.endswith(".")


def test_each_failure_has_a_sentence_of_its_own():
    assert len({str(pip_output.explain("timm", lines)) for lines in SAYS.values()}) == len(SAYS)


@pytest.mark.parametrize("lines", [OFFLINE, REFUSED, ["ProxyError('Cannot connect to proxy.')", NO_VERSION]])
def test_a_failing_proxy_is_named_without_its_password(monkeypatch, lines):
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:secret@proxy.clinic:3128")
    text = str(pip_output.explain("timm", lines))
    assert text.startswith("The proxy proxy.clinic:3128 did not let timm through; correct HTTPS_PROXY")
    assert "secret" not in text
    assert "ann:" not in text


def test_a_proxy_that_nobody_set_is_the_networks():
    text = str(pip_output.explain("timm", ["ProxyError('Tunnel connection failed: 407 Proxy Authentication')"]))
    assert "The proxy of your network did not let" in text


def test_a_full_disk_is_told_though_a_proxy_is_set(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.clinic:3128")
    assert "disk is full" in str(pip_output.explain("timm", SAYS["disk is full"]))


def test_what_is_printed_and_logged_is_heard_line_by_line(capsys):
    heard = []
    with pip_output.listening(heard.append):
        print("Collecting timm")
        sys.stdout.write("Down")
        assert heard == ["Collecting timm"]
        sys.stdout.write("loading\rInstalling\n")
        sys.stdout.flush()
        logging.getLogger("anything").warning("first\nsecond")
    print("afterwards")
    logging.getLogger("anything").warning("afterwards")
    assert heard == ["Collecting timm", "Downloading", "Installing", "first", "second"]
    assert capsys.readouterr().out == "Collecting timm\nDownloading\rInstalling\nafterwards\n"


def test_hearing_ends_with_an_error():
    stdout, handlers = sys.stdout, list(logging.getLogger().handlers)
    with pytest.raises(ZeroDivisionError), pip_output.listening(lambda line: None):
        raise ZeroDivisionError
    assert sys.stdout is stdout
    assert logging.getLogger().handlers == handlers


def test_a_console_with_nothing_but_write_will_do(monkeypatch):
    written, heard = [], []
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(write=written.append))
    with pip_output.listening(heard.append):
        print("Collecting timm", flush=True)
    monkeypatch.undo()
    assert heard == ["Collecting timm"]
    assert "".join(written) == "Collecting timm\n"
