"use strict";
// Shows times in the reader's zone, and says so when the service cannot answer while one types.
// Everything works without it.
(() => {
  const pad = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

  function localTimes(within) {
    for (const each of within.querySelectorAll("time[datetime]:not([data-local])")) {
      const moment = new Date(each.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const isToday = day.format(moment) === day.format(new Date());
      each.textContent = isToday ? pad.format(moment) : `${day.format(moment)}, ${pad.format(moment)}`;
      each.dataset.local = "yes";
    }
  }

  function say(text) {
    const notice = document.getElementById("notice");
    notice.textContent = "";
    if (!text) return;
    const line = document.createElement("p");
    line.className = "notice bad";
    line.textContent = text;
    notice.append(line);
  }

  function explain(status) {
    if (status === 413) return "This event is too large to be tried here.";
    if (status === 429) return "You are faster than the service allows. Wait for a moment, and go on.";
    if (status === 401 || status === 403) return "You are not signed in any more. Open this page again.";
    return "The service cannot answer at the moment. Your text is still here: try again soon.";
  }

  document.addEventListener("DOMContentLoaded", () => {
    localTimes(document);
    document.getElementById("summary")?.focus();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    say("");
    localTimes(event.target);
  });
  document.addEventListener("page:renewed", (event) => localTimes(event.target));
  document.addEventListener("htmx:responseError", (event) => say(explain(event.detail.xhr.status)));
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => say(explain(0)));
  }
})();
