"""Who gets in, what is refused, and with which sentence."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.geometry import Crop
from AutoPromptSAMLib.prompts import MaskPrompt
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.session.remote import RemoteSession
from AutoPromptSAMLib.session.wire import CHUNK, PROTOCOL_HEADER, RemoteError, pack

from ..remote_server import TOKEN, Site, Town
from ..session.conftest import slice_box
from ..threshold_backbone import ThresholdBackbone, rod

GOOD = {"Authorization": f"Bearer {TOKEN}", PROTOCOL_HEADER: "1"}
PATHS = [("GET", "/v1/about"), ("POST", f"/v1/parcels/{'0' * 64}?size=5"), ("DELETE", f"/v1/sessions/{'0' * 32}")]


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json")])
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN])
def test_nobody_gets_in_without_the_token(site: Site, method: str, path: str, token: str | None) -> None:
    headers = {PROTOCOL_HEADER: "1"} | ({} if token is None else {"Authorization": token})
    answer = requests.request(method, site.address + path, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert set(answer.json()) == {"error"}


def test_a_wrong_token_is_one_sentence(site: Site, one_sentence: Callable) -> None:
    for token in ("wrong", "", "wrong " * 1000):
        with one_sentence(RemoteError, "token"):
            RemoteSession(site.address, token)
    with one_sentence(RemoteError, "token"):
        RemoteSession(site.address, "naïve")


@pytest.mark.parametrize("version", ["0", "2", "", "1.0"])
def test_another_version_of_the_protocol_is_one_sentence(
    site: Site, version: str, monkeypatch: pytest.MonkeyPatch, one_sentence: Callable
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.session.connection.PROTOCOL", version)
    with one_sentence(RemoteError, "version"):
        site.client()


def test_an_unknown_model_is_one_sentence(site: Site, one_sentence: Callable) -> None:
    for model in ("sam-vit-b", "../../etc/passwd", "a b&c=d"):
        with one_sentence(ModelError, f'"{model}"', "lite-medsam"):
            site.client(model=model)
    site.client(model="lite-medsam").close()


def test_a_model_that_is_not_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_sentence: Callable
) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    with one_sentence(ModelError, "autopromptsam models fetch sam-vit-h"):
        Models.of_zoo(["sam-vit-h"], "cpu")
    with one_sentence(ModelError, "sam-vit-z"):
        Models.of_zoo(["sam-vit-z"], "cpu")


def test_a_model_is_loaded_once_for_all() -> None:
    made = []

    def load() -> ThresholdBackbone:
        made.append(ThresholdBackbone())
        return made[-1]

    models = Models({"one": load, "two": load})
    threads = [threading.Thread(target=models.get, args=(name,)) for name in ("one", "", "one", "")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert models.get("") is models.get("one") is made[0]


def test_an_image_that_is_too_large_is_one_sentence(town: Town, one_sentence: Callable) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(parcel=10_000))
    session = site.client()
    volume, truth = rod(range(12))
    session.set_image(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    with one_sentence(RemoteError, "crop or resample"):
        session.propagate("rod").result(30)
    session.close()


def test_a_server_without_room_for_one_more_image_lets_the_oldest_go(town: Town) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(kept=60_000))
    session = site.client()
    for slices in (range(2, 9), range(3, 9), range(4, 9), range(2, 9)):
        volume, truth = rod(slices)  # 27,648 bytes
        session.set_image(volume)
        session.add_prompt("rod", slice_box(volume, truth, 0, 5))
        assert session.propagate("rod").result(30).mask.count == truth.sum()
    assert len(site.app.state.parcels._parcels) == 2
    session.close()


def test_a_request_that_is_too_large_is_one_sentence(town: Town, one_sentence: Callable) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(request=5000))
    session = site.client()
    volume, _ = rod(range(12))
    session.set_image(volume)
    noise = np.random.default_rng(0).random(volume.array.shape) < 0.5
    session.add_prompt("rod", MaskPrompt(Crop.from_full(noise), volume.geometry))
    with one_sentence(RemoteError, "masks"):
        session.propagate("rod").result(30)
    session.close()


def test_a_chunk_that_is_too_large_is_refused(site: Site) -> None:
    path = f"{site.address}/v1/parcels/{'0' * 64}"
    assert requests.post(f"{path}?size={CHUNK * 3}", headers=GOOD, timeout=10).json() == {"received": 0}
    answer = requests.put(f"{path}/0", data=bytes(CHUNK + 2**17), headers=GOOD, timeout=30)
    assert answer.status_code == 400
    assert "MB" in answer.json()["error"]["text"]


def test_more_sessions_than_the_server_takes_is_one_sentence(town: Town, one_sentence: Callable) -> None:
    site = town.open(ThresholdBackbone(), limits=Limits(sessions=1))
    volume, truth = rod(range(12))
    sessions = [site.client(), site.client()]
    for session in sessions:
        session.set_image(volume)
        session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    sessions[0].propagate("rod").result(30)
    with one_sentence(RemoteError, "as many sessions"):
        sessions[1].propagate("rod").result(30)
    sessions[0].close()
    assert sessions[1].propagate("rod").result(30).complete
    sessions[1].close()


def test_bytes_that_are_not_what_their_name_says_are_not_kept(site: Site) -> None:
    import zlib

    path = f"{site.address}/v1/parcels/{'0' * 64}"
    requests.post(f"{path}?size=5", headers=GOOD, timeout=10)
    answer = requests.put(f"{path}/0", data=zlib.compress(b"12345"), headers=GOOD, timeout=10)
    assert answer.status_code == 400
    assert "changed on the way" in answer.json()["error"]["text"]
    assert site.app.state.parcels.get("0" * 64) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/parcels/..%2F..%2Fetc%2Fpasswd?size=5"),
        ("POST", f"/v1/parcels/{'g' * 64}?size=5"),
        ("POST", f"/v1/parcels/{'0' * 64}?size=-5"),
        ("POST", f"/v1/parcels/{'0' * 64}?size=99999999999999"),
        ("POST", f"/v1/parcels/{'0' * 64}?size=many"),
        ("PUT", f"/v1/parcels/{'0' * 64}/x"),
        ("PUT", f"/v1/parcels/{'1' * 64}/0"),
        ("POST", "/v1/sessions/..%2F..%2Ftmp/jobs/1"),
        ("POST", f"/v1/sessions/{'0' * 32}/jobs/..%2Ftmp"),
        ("POST", f"/v1/sessions/{'0' * 32}/jobs/{'0' * 32}"),
        ("POST", f"/v1/sessions/{'0' * 32}/jobs/{'0' * 32}/seen?count=x"),
    ],
)
def test_names_that_are_none_are_refused(site: Site, method: str, path: str) -> None:
    answer = requests.request(method, site.address + path, headers=GOOD, timeout=10)
    assert answer.status_code in (400, 404, 422)


@pytest.mark.parametrize(
    "changes",
    [
        {"call": "close"},
        {"call": "_start"},
        {"call": None},
        {"arguments": {"name": "rod", "on_slice": 1}},
        {"arguments": 5},
        {"arguments": {}},
        {"image": {"parcel": "../../etc/passwd"}},
        {"image": 5},
        {"ahead": "x"},
        {"prompts": {"rod": (5,)}},
        {"prompts": 7},
        {"model": ["no"]},
        {"model": 5},
    ],
)
def test_requests_that_no_client_makes_are_refused(site: Site, changes: dict[str, object]) -> None:
    request = {
        "call": "segment", "arguments": {"name": "rod", "plane": None}, "model": "lite-medsam", "supports": None,
        "fingerprint": "threshold", "image": None, "prompts": {}, "known": None, "progress": False, "slices": False,
        "ahead": 0,
    }  # fmt: skip
    path = f"{site.address}/v1/sessions/{'0' * 32}/jobs/{'0' * 32}"
    answer = requests.post(path, data=pack(request | changes), headers=GOOD, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["text"].endswith(".")
    site.app.state.desks.close()


@pytest.fixture
def stranger() -> Iterator[str]:
    """A web server that is not ours."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path.startswith("/well") else 404)
            self.end_headers()
            self.wfile.write(b"<html>Welcome to nginx</html>" if "no-json" in self.path else b'{"a": 1}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address_where_somebody_else_answers(stranger: str, one_sentence: Callable) -> None:
    for path in ("", "/well", "/well/no-json"):
        with one_sentence(RemoteError, "there is no AutoPromptSAM server", "check the address"):
            RemoteSession(stranger + path, TOKEN)


def test_an_address_where_nobody_answers(one_sentence: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with one_sentence(RemoteError, "No server answers", str(port)):
        RemoteSession(f"http://127.0.0.1:{port}", TOKEN)
    for address in ("", "example.org", "ftp://example.org", "file:///etc/passwd", "http://", "http://[fe80::1"):
        with one_sentence(RemoteError, "no address", "https://host"):
            RemoteSession(address, TOKEN)
