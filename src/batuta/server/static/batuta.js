// Keeps relative times and running durations true while a page stays open.
(() => {
  const STEPS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const words = (seconds, parts) => {
    let rest = Math.floor(seconds);
    const found = [];
    for (const [size, unit] of STEPS) {
      if (rest >= size) {
        found.push(`${Math.floor(rest / size)} ${unit}`);
        rest %= size;
      }
    }
    return found.slice(0, parts).join(" ") || "0 s";
  };
  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const tick = () => {
    if (document.hidden) return;
    const now = Date.now();
    for (const element of document.querySelectorAll("[data-at]")) {
      const away = (Number(element.dataset.at) - now) / 1000;
      const text = words(Math.abs(away), 1);
      say(element, Math.abs(away) < 1 ? "now" : away > 0 ? `in ${text}` : `${text} ago`);
    }
    for (const element of document.querySelectorAll("[data-since]")) {
      say(element, words(Math.max(0, now - Number(element.dataset.since)) / 1000, 2));
    }
  };
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
})();
