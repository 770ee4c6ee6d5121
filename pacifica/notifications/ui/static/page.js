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

  // Fields for times are in UTC as they come and as they are sent, and in the reader's zone between.
  function localFields() {
    for (const field of document.querySelectorAll("input[type=datetime-local]")) {
      const moment = new Date(`${field.value}Z`);
      const local = moment - moment.getTimezoneOffset() * 60000;
      if (!Number.isNaN(local)) field.value = new Date(local).toISOString().slice(0, 16);
      for (const zone of field.labels[0].querySelectorAll(".zone")) zone.textContent = "(your time)";
    }
  }

  function sent({ target, formData }) {
    for (const field of target.querySelectorAll("input[type=datetime-local]")) {
      const moment = new Date(field.value);
      if (Number.isNaN(moment.getTime())) continue;
      formData.set(field.name, `${moment.toISOString().slice(0, 16)}Z`);
    }
    if (target.method !== "get") return;
    for (const [name, value] of [...formData]) if (!value) formData.delete(name); // short addresses
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
    if (status === 409) return "Somebody else is signed in now. Open this page again.";
    if (status === 413) return "This event is too large to be tried here.";
    if (status === 429) return "You are faster than the service allows. Wait for a moment, and go on.";
    if (status === 401 || status === 403) return "You are not signed in any more. Open this page again.";
    return "The service cannot answer at the moment. Your text is still here: try again soon.";
  }

  document.addEventListener("DOMContentLoaded", () => {
    localTimes(document);
    localFields();
    document.getElementById("summary")?.focus();
  });
  document.addEventListener("formdata", sent);
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
