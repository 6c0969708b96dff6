"use strict";
/* The page around the sections, and the order in which they are drawn. */

const THEMES = ["system", "light", "dark"];

function theme() {
  const button = document.getElementById("theme");
  let chosen = storedTheme();
  const show = () => {
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.textContent = `Theme: ${chosen}`;
  };
  button.onclick = () => {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    storeTheme(chosen);
    show();
  };
  show();
}

/* A browser may refuse to store data for a page from disk; then the theme is forgotten when the page is closed. */
function storedTheme() {
  try {
    const stored = localStorage.getItem("tallystick-theme");
    return THEMES.includes(stored) ? stored : "system";
  } catch {
    return "system";
  }
}

function storeTheme(name) {
  try {
    localStorage.setItem("tallystick-theme", name);
  } catch {
    // see storedTheme
  }
}

function contents() {
  const sections = [...document.querySelectorAll("section")];
  const links = sections.map((s) => make("a", { href: `#${s.id}` }, s.querySelector("h2").textContent));
  document.querySelector("nav").append(...links);
  const folders = data.runs.map((run) => run.path).join(", ");
  const made = `Made ${data.made} by tallystick ${data.version} from ${folders}.`;
  document.getElementById("footer").textContent = `${made} This file needs no network.`;
}

theme();
contents();
lead();
for (const section of [glance, accuracy, prediction, trajectory, errors, state, training, configuration]) section();
document.documentElement.dataset.ready = "yes";
