"use strict";
// Keeps what changes by itself up to date, and copies texts. Everything works without it.
(() => {
  const FAILED = 3;
  const polled = new Set();

  // An element with `data-poll` (milliseconds) is read again from its page, or from `data-from`,
  // while the page is visible. An answer without `data-poll` is the last one.
  function poll(id, tag, failures) {
    const element = document.getElementById(id);
    if (!element?.dataset.poll) {
      polled.delete(id);
      return;
    }
    const wait = Number(element.dataset.poll) * 2 ** failures;
    setTimeout(async () => {
      if (document.hidden) {
        document.addEventListener("visibilitychange", () => poll(id, tag, 0), { once: true });
        return;
      }
      try {
        const address = element.dataset.from || location.href;
        const answer = await fetch(address, { headers: tag ? { "If-None-Match": tag } : {} });
        if (answer.status === 304) return poll(id, tag, 0);
        if (!answer.ok) throw new Error(answer.statusText);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        renew(id, page.getElementById(id));
        poll(id, answer.headers.get("ETag"), 0);
      } catch {
        if (failures < FAILED) poll(id, tag, failures + 1);
        else polled.delete(id);
      }
    }, wait);
  }

  function renew(id, fresh) {
    const old = document.getElementById(id);
    if (!old || !fresh) return;
    const open = [...old.querySelectorAll("details")].map((each) => each.open);
    const details = fresh.querySelectorAll("details");
    if (details.length === open.length) details.forEach((each, number) => { each.open = open[number]; });
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceWith(document.adoptNode(fresh));
    if (focused) document.getElementById(focused)?.focus();
    fresh.dispatchEvent(new CustomEvent("page:renewed", { bubbles: true }));
    if (fresh.dataset.say !== old.dataset.say) say(fresh.dataset.say ?? "");
    copyButtons(fresh);
  }

  // For those who hear the page.
  function say(text) {
    const line = document.createElement("p");
    line.className = "hidden";
    line.textContent = text;
    document.getElementById("notice").replaceChildren(line);
  }

  function copyButtons(within) {
    for (const place of within.querySelectorAll("[data-copy]:empty")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button small-button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(document.getElementById(place.dataset.copy).textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(document.getElementById(place.dataset.copy));
          button.textContent = "Selected: copy it with your keyboard";
        }
      });
      place.append(button);
    }
  }

  function begin(within) {
    for (const each of within.querySelectorAll("[data-poll]")) {
      if (polled.has(each.id)) continue;
      polled.add(each.id);
      poll(each.id, null, 0);
    }
    copyButtons(within);
  }

  document.addEventListener("DOMContentLoaded", () => begin(document));
  document.addEventListener("htmx:afterSwap", () => begin(document));
})();
