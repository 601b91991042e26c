"""The same boxes asked of a model in this process, and of one behind HTTP on localhost; what sending the image takes.

Slices are encoded before. The server runs in a thread of this process, so both share its cores, as they would not on
two machines; a network adds the time of its ways there and back, one for a box.

    python Testing/benchmarks/remote.py
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import zlib
from collections import defaultdict

import common
import numpy as np
import uvicorn

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.loops.job import Progress
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.server.app import create_app
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.server.serving import listen
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.remote import RemoteSession
from AutoPromptSAMLib.session.wire import CHUNK, pack

ORGANS = ["liver", "spleen", "kidney_right", "kidney_left"]
BOXES = 5  # for each organ
RUN = 12  # slices


def main() -> None:
    options = common.parser(__doc__.split("\n")[0]).parse_args()
    data = common.load(None, None)
    backbone = load_backbone(options.model)
    cache, token = EmbeddingCache(None), secrets.token_urlsafe(24)
    listening = listen("127.0.0.1", 0)
    app = create_app(Models({backbone.card.name: lambda: backbone}), token, cache=cache)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    sent: list[tuple[float, Progress]] = []
    local = LocalSession(backbone, cache)
    remote = RemoteSession(
        f"http://127.0.0.1:{listening.getsockname()[1]}",
        token,
        on_sending=lambda progress: sent.append((time.perf_counter(), progress)),
    )
    for session in (local, remote):
        session.set_image(data.volume)
    figures: defaultdict[str, list[float]] = defaultdict(list)
    planes = {}
    for name in ORGANS:
        areas = data.truth(name).sum(axis=(1, 2))
        for index in np.argsort(areas)[-BOXES:]:
            planes[name, int(index)] = slice_plane(data.volume.geometry, 0, int(index))
    middle = index - RUN // 2
    in_run = [slice_plane(data.volume.geometry, 0, n) for n in range(middle, middle + RUN + 1)]
    for plane in (*planes.values(), *in_run):
        local.prepare(plane).result()
    remote.prepare(next(iter(planes.values()))).result()
    sending = sent[-1][0] - sent[0][0]
    for (name, index), plane in planes.items():
        box = Box.on_plane(plane, common.tight_box(data.truth(name)[index]))
        for session, place in ((local, "local"), (remote, "remote")):
            session.clear_prompts(name)
            session.add_prompt(name, box)
            started = time.perf_counter()
            result = session.segment(name, plane).result()
            figures[place].append((time.perf_counter() - started) * 1000)
            figures[f"{place} beside the model"].append(figures[place][-1] - sum(result.seconds.values()) * 1000)
        figures["bytes"].append(len(pack({"event": "end", "result": result})))
    seconds = {}
    for session, place in ((local, "local"), (remote, "remote")):
        started = time.perf_counter()
        run = session.propagate(name, 0, middle, middle + RUN, on_slice=lambda *_: None, on_progress=lambda _: None)
        run.result()
        seconds[place] = time.perf_counter() - started
    content = np.ascontiguousarray(data.volume.array).tobytes()
    packed = sum(len(zlib.compress(content[at : at + CHUNK], 1)) for at in range(0, len(content), CHUNK))
    about = {
        "machine": common.machine(),
        "model": remote.about.model,
        "device": remote.about.device,
        "box to mask, ms (median, 90 %)": {
            place: [round(float(np.percentile(figures[place], q)), 1) for q in (50, 90)]
            for place in figures
            if place != "bytes"
        },
        "bytes of a result (median, largest)": [int(np.median(figures["bytes"])), int(max(figures["bytes"]))],
        "run over slices, s": {place: round(s, 2) for place, s in seconds.items()},
        "sending the image, s": round(sending, 2),
        "image, MB (as it is, as it is sent)": [sent[-1][1].total, round(packed / 1e6)],
    }
    text = json.dumps(about, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")
    remote.close()
    local.close()
    server.should_exit = True


if __name__ == "__main__":
    main()
