// Keys, the first-run hints and dropped files: what needs the browser. Everything else is on the server.
(() => {
  const SEEN = "autopromptsam.hints-seen";
  const EDITABLE = "input:not([type=range]):not([type=color]):not([type=checkbox]), textarea, select, [contenteditable]";

  function nameOf(event) {
    let key = event.key === " " ? "space" : event.key.toLowerCase();
    const parts = [];
    if (event.ctrlKey || event.metaKey) parts.push("ctrl");
    if (event.altKey) parts.push("alt");
    // A shifted sign is a key of its own ("?"); only letters and named keys keep the word.
    if (event.shiftKey && (key.length > 1 || key !== key.toUpperCase())) parts.push("shift");
    return [...parts, key].join("+");
  }

  function onKey(event) {
    const trame = window.trame;
    const target = event.target instanceof Element ? event.target : document.body;
    if (!trame || target.closest(EDITABLE)) return;
    const name = nameOf(event);
    const dialog = document.querySelector(".v-overlay--active .aps-dialog");
    if (dialog && !dialog.contains(target)) {
      // Nothing in the dialog has the focus, as after its button was disabled: no key may reach what is behind it.
      if (name === "escape") dialog.querySelector("[aria-label=Close]")?.click();
      return;
    }
    if (!dialog && name === "escape" && trame.state.get("hint_step") > 0 && document.querySelector(".aps-hint")) {
      window.apsHints.end(); // and nothing else: what Escape ends otherwise is not what is looked at
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const inView = target.closest(".aps-view");
    if (target.closest(".v-overlay__content, .aps-hint")) return; // a dialog or a menu has the keys
    if (target.closest("button, a, summary, [role=button], input:not([type=range])") && ["space", "enter"].includes(name)) return;
    if (target.closest("input[type=range], [role=slider]") && name.startsWith("arrow")) return;
    if (name === "f2" && trame.state.get("active_segment") && !dialog) {
      trame.state.set("renaming", trame.state.get("active_segment"));
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const keys = trame.state.get("keys") || {};
    if (inView) event.stopPropagation(); // Slicer's own single-letter keys would surprise here
    if (!(name in keys)) return;
    event.preventDefault();
    event.stopPropagation();
    trame.trigger("aps_key", [name]);
  }
  window.addEventListener("keydown", onKey, true);

  // A button that was clicked with the mouse would take the next Space.
  window.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest(".aps-app button");
    if (button && event.detail > 0) button.blur();
  });

  // So would a menu take the next letters.
  window.addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement && event.target.closest(".aps-app")) event.target.blur();
  });

  window.apsHints = {
    next() {
      const step = window.trame.state.get("hint_step");
      if (step >= 3) this.end();
      else window.trame.state.set("hint_step", step + 1);
    },
    end() {
      localStorage.setItem(SEEN, "1");
      window.trame.state.set("hint_step", 0);
    },
    show() {
      window.trame.state.set("hint_step", 1);
    },
  };
  const waiting = setInterval(() => {
    if (!window.trame || !document.querySelector(".aps-app")) return;
    clearInterval(waiting);
    if (!localStorage.getItem(SEEN)) window.apsHints.show();
    const showActive = () => document.querySelector(".aps-segments .aps-active")?.scrollIntoView({ block: "nearest" });
    window.trame.state.watch(["active_segment", "segments"], () => setTimeout(showActive, 50));
  }, 100);
})();

// Files: to the server by HTTP, so that a large CT does not hold up the views; back by a one-time address.
window.apsFiles = {
  async picked(input, purpose = "") {
    await this.send([...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })), purpose);
    input.value = "";
  },

  async send(entries, purpose = "") {
    const trame = window.trame;
    if (!entries.length || trame.state.get("opening")) return;
    if (entries.length === 1 && entries[0].name.toLowerCase().endsWith(".apsupports")) purpose = "examples-import";
    const total = entries.reduce((sum, entry) => sum + entry.file.size, 0) || 1;
    let batch = "";
    let sent = 0;
    let shown = -1;
    const tell = (now) => {
      const percent = Math.floor((100 * now) / total);
      if (percent === shown) return;
      shown = percent;
      const what = entries.length > 1 ? `${entries.length} files` : entries[0].file.name;
      trame.trigger("upload_progress", [`Uploading ${what}: ${percent} %`]);
    };
    for (const { file, name } of entries) {
      try {
        const answer = await this.post(file, name, batch, (bytes) => tell(sent + bytes));
        if (answer.error) throw new Error(answer.error);
        batch = answer.batch;
        sent += file.size;
      } catch (error) {
        trame.trigger("upload_failed", [error.message]);
        return;
      }
    }
    trame.trigger(purpose.startsWith("examples") ? "examples_uploaded" : "upload_done", [batch, purpose]);
  },

  post(file, name, batch, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `upload?${new URLSearchParams(batch ? { name, batch } : { name })}`);
      request.responseType = "json";
      request.upload.onprogress = (event) => progress(event.loaded);
      request.onload = () =>
        request.response ? resolve(request.response) : reject(new Error(`The upload of ${name} was refused; reload the page and try again.`));
      request.onerror = () => reject(new Error(`The upload of ${name} broke off; drop it again.`));
      request.send(file);
    });
  },

  async download(what, trigger = "export") {
    const id = await window.trame.trigger(trigger, [what]);
    if (!id) return;
    const link = document.createElement("a");
    link.href = `download/${encodeURIComponent(id)}`;
    link.download = "";
    document.body.append(link);
    link.click();
    link.remove();
  },

  async dropped(entries) {
    const files = [];
    for (const entry of entries) {
      try {
        files.push(...(await this.walk(entry)));
      } catch {
        window.trame.trigger("upload_failed", [
          `${entry.name} cannot be read; check that it is still there and may be read, then drop it again.`,
        ]);
        return;
      }
    }
    this.send(files);
  },

  // A dropped folder is an entry that has to be walked.
  async walk(entry, folder = "") {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      return [{ file, name: folder + file.name }];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!part.length) return found;
      for (const child of part) found.push(...(await this.walk(child, `${folder}${entry.name}/`)));
    }
  },
};

(() => {
  const page = () => document.querySelector(".aps-app");
  const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    page()?.classList.add("aps-dropping");
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) page()?.classList.remove("aps-dropping");
  });
  window.addEventListener("drop", (event) => {
    page()?.classList.remove("aps-dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
    if (entries.length) window.apsFiles.dropped(entries);
    else window.apsFiles.send([...event.dataTransfer.files].map((file) => ({ file, name: file.name })));
  });
})();

// A lost connection: say so, and come back by itself when the program answers again.
(() => {
  let wasThere = false;
  let notice = null;
  setInterval(async () => {
    const there = !!document.querySelector(".aps-app");
    wasThere = wasThere || there;
    if (there || !wasThere) return;
    if (!notice) {
      notice = document.createElement("div");
      notice.className = "aps-lost";
      notice.dataset.testid = "lost";
      notice.setAttribute("role", "alert");
      notice.innerHTML =
        "<h2>The connection is lost</h2><p>Your work is kept. This page comes back by itself when the program answers; " +
        "if the program has ended, start it again and open the address that it prints.</p>";
      document.body.append(notice);
    }
    try {
      if ((await fetch("index.html", { cache: "no-store" })).ok) location.reload();
    } catch {
      // not yet
    }
  }, 1500);
})();
