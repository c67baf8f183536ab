// The user: signs in on each connection, and hears what that brings. Loaded where `/config` offers it.
import { persist } from "./auth.js";
import { decode } from "./events.js";

export function makeSigner({ client: { user, watchlist }, request, report }) {
  let transport;

  return {
    async signIn({ cfg, socketId, signal, ...session }) {
      ({ transport } = session);
      if (!cfg.userAuth || !transport.signIn || cfg.signIn === false) return;
      const ask = () => request(cfg.userAuth, { form: { socket_id: socketId }, signal });
      try {
        transport.signIn(await persist(ask, { signal, report }));
      } catch (error) {
        if (signal.aborted) return;
        user.id = user.data = null;
        const isGuest = error.code === "denied" || error.code === "unauthorized";
        if (!isGuest) report(error);
      }
    },

    receive(event, data) {
      if (event === "pusher:signin_success") {
        user.data = decode(data.user_data);
        user.id = String(user.data.id);
        transport.subscribe(`#server-to-user-${user.id}`, null, null);
      } else if (event === "pusher:watchlist_events") {
        for (const { name, user_ids: ids } of data.events) watchlist.emit(name, ids);
      }
    },
  };
}
