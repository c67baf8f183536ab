// Ably's own SDK, for pages that do not bring it along.
let loading;

/** The SDK, from the URL of its build for a `<script>`, under the nonce that the page's own have. */
export function load(src) {
  loading ??= new Promise((resolve, reject) => {
    const { nonce = "" } = document.querySelector("script[nonce]") ?? {};
    const script = Object.assign(document.createElement("script"), { src, nonce });
    script.onload = () => resolve(globalThis.Ably);
    script.onerror = () => {
      loading = null; // another time it may
      reject(new Error(`${src} does not load`));
    };
    document.head.append(script);
  });
  return loading;
}
