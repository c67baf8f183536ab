// A page for React to render into, as globals; imported before React is.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><body></body>", { url: "http://app.test/", pretendToBeVisual: true });
const { document, navigator } = window;
const addEventListener = window.addEventListener.bind(window);
const removeEventListener = window.removeEventListener.bind(window);
for (const [name, value] of Object.entries({ window, document, navigator, addEventListener, removeEventListener })) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

export function setOnline(isOn) {
  Object.defineProperty(navigator, "onLine", { value: isOn, configurable: true });
  window.dispatchEvent(new window.Event(isOn ? "online" : "offline"));
}

export function setVisible(isVisible) {
  Object.defineProperty(document, "visibilityState", { value: isVisible ? "visible" : "hidden", configurable: true });
  document.dispatchEvent(new window.Event("visibilitychange"));
}
