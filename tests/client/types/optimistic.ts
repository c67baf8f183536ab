// Compiled, never run: good usage must type-check and each marked line must not.
import { connect } from "../../../realtime_kit/client/realtime.js";
import { optimistic, Optimistic, OptimisticError } from "../../../realtime_kit/client/optimistic.js";
import type { Pending, Settled } from "../../../realtime_kit/client/optimistic.js";

interface Todo {
  id: string;
  text: string;
}
interface TodoEvents {
  saved: Todo;
  removed: { id: string };
}
const client = connect();
const channel = client.subscribe<TodoEvents>("private-todos", { position: "e:7" });
const todos = optimistic({
  initial: [] as Todo[],
  position: channel.position,
  client,
  channel,
  reduce: {
    saved: (list, todo, meta) => [...list, { ...todo, text: meta.mutation ?? todo.text }],
    removed: (list, { id }) => list.filter((todo) => todo.id !== id),
  },
  mutations: {
    add: {
      apply: (list, text: string, mutation) => [...list, { id: mutation, text }],
      send: (text: string, { fetch }) => fetch("/todos", { method: "POST", body: text }),
      settle: (list, todo: Todo) => [...list, todo],
    },
    clear: { apply: () => [], send: (_: undefined, { signal }) => fetch("/todos", { signal }) },
  },
  reload: async ({ fetch, signal }) => ({ state: signal.aborted ? [] : await (await fetch("/todos")).json(), position: null }),
  storage: sessionStorage,
  key: "todos of 7",
  eventWithin: 0, timeout: 1, retries: 2,
  onError: ({ code, status, answer, action, mutation }) => [code === "network", status, answer, action?.name, mutation],
});
const texts: string[] = todos.state.map(({ text }) => text);
const known: Todo[] = todos.server;
todos.mutate("add", "milk").then((settled: Settled) => settled.by === "answer" ? settled.answer : settled.data);
todos.mutate("clear");
todos.mutate((list) => list.slice(1), ({ attempt, mutation }) => ({ attempt, mutation })).then((settled) => {
  // @ts-expect-error an event has no answer
  settled.answer;
  if (settled.by === "answer") settled.answer.attempt.toFixed();
});
const { mutate } = todos;
mutate((list) => list, async ({ fetch }) => fetch("/todos"), (list, todo) => [...list, todo]);
todos.on("change", (list, pending: readonly Pending[]) => [list.length, pending[0]?.status === "accepted"]);
todos.on("error", (error: OptimisticError) => error.message);
const done: Promise<void> = todos.reload();
const later = new Optimistic({ initial: 0 });
later.start({ client });
later.stop();
later.close();

// @ts-expect-error no such mutation
todos.mutate("remove", "1");
// @ts-expect-error it takes a text
todos.mutate("add", 7);
// @ts-expect-error it needs its text
todos.mutate("add");
// @ts-expect-error another state
todos.mutate(() => "none", () => {});
// @ts-expect-error something has to be sent
todos.mutate((list) => list);
// @ts-expect-error read-only
todos.state = [];
// @ts-expect-error no such event of the store
todos.on("changed", () => {});
// @ts-expect-error the channel has no such event
optimistic({ initial: 0, channel, reduce: { saves: (count: number) => count } });
// @ts-expect-error `removed` has no text
optimistic({ initial: "", channel, reduce: { removed: (_, { text }) => text } });
// @ts-expect-error a snapshot has a state
optimistic({ initial: 0, reload: async () => 0 });
// @ts-expect-error no such option
optimistic({ initial: 0, retry: 3 });
export const used = [texts, known, done];
