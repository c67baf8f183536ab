import { announce } from "./dom.js";
import { base, leave, me, optimistic, page, start, watchBell, wish } from "./page.js";

const PATIENCE_MS = 400; // a quick answer needs no word
const { client } = start();

// how: likes
const likes = optimistic({
  client, channel: client.subscribe("likes"),
  initial: page.posts, // by post: {count, mine, version}
  reduce: { counted },
  reload: async ({ fetch }) => (await fetch(`${base}/likes/now`)).json(),
});

const like = (post, liked) => likes.mutate(
  (posts) => ({ ...posts, [post]: liking(posts[post], liked) }),
  ({ fetch }) => fetch(`${base}/likes/${post}`,
    { method: liked ? "PUT" : "DELETE", headers: wish() }),
);
// end of how

function liking({ count, mine, version }, liked) {
  return { count: count + liked - mine, mine: liked, version };
}

/** What the server says; of two events about a post the later one is right, whichever comes last. */
function counted(posts, { post, count, version, by, liked }) {
  const { mine, version: known } = posts[post];
  if (version <= known) return posts;
  return { ...posts, [post]: { count, version, mine: by === me.id ? liked : mine } };
}

const posts = new Map([...document.querySelectorAll("[data-post]")].map((node) => [node.dataset.post, node]));

function show(state) {
  for (const [post, { count, mine }] of Object.entries(state)) {
    const button = posts.get(post).querySelector(".like");
    button.setAttribute("aria-pressed", mine);
    button.querySelector(".likes").textContent = count;
  }
}

for (const [post, node] of posts) {
  const button = node.querySelector(".like");
  const fate = node.querySelector(".fate");
  const again = node.querySelector(".again");
  const say = (text, isBad = false) => {
    fate.textContent = text;
    fate.classList.toggle("bad", isBad);
    again.hidden = !isBad;
  };
  let waiting = 0;
  const press = async () => {
    waiting += 1;
    button.classList.add("pending");
    say(navigator.onLine ? "" : "Waits for the network");
    const slow = setTimeout(() => navigator.onLine && say("Saving…"), PATIENCE_MS);
    try {
      await like(post, button.getAttribute("aria-pressed") === "false");
      say("");
    } catch (problem) {
      say(`Taken back. ${problem.message}`, true);
      announce(`Taken back. ${problem.message}`);
    }
    clearTimeout(slow);
    waiting -= 1;
    button.classList.toggle("pending", waiting > 0);
  };
  button.addEventListener("click", press);
  again.addEventListener("click", () => {
    button.focus();
    press();
  });
}

likes.on("error", ({ cause }) => {
  if (cause?.status !== 401) return;
  leave();
  likes.close();
  for (const node of posts.values()) node.querySelector(".like").disabled = true;
});
likes.on("change", show);
show(likes.state);
watchBell(client);
