// Before the first paint: the colours that were chosen, else the system's.
(() => {
  const CHOICES = { system: "as the system", light: "light", dark: "dark" };
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off: the choice lasts as long as the page
    }
  };
  const apply = (choice) => {
    root.dataset.theme = choice;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-label", `Colours: ${CHOICES[choice]}`);
      button.title = `Colours: ${CHOICES[choice]}`;
    }
  };
  apply(stored() in CHOICES ? stored() : "system");
  document.addEventListener("DOMContentLoaded", () => {
    apply(root.dataset.theme);
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.addEventListener("click", () => {
        const names = Object.keys(CHOICES);
        const next = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
        apply(next);
        try {
          localStorage.setItem("theme", next);
        } catch { /* as above */ }
      });
    }
  });
})();
