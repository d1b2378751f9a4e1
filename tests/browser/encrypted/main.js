// A page that only its user can read: private-encrypted- channels through pusher-js's build with encryption.

import Pusher from "pusher-js/with-encryption";

const pusher = new Pusher(import.meta.env.VITE_PUSHER_KEY, {
  cluster: import.meta.env.VITE_PUSHER_CLUSTER,
  wsHost: import.meta.env.VITE_PUSHER_HOST,
  wsPort: import.meta.env.VITE_PUSHER_PORT,
  wssPort: import.meta.env.VITE_PUSHER_PORT,
  forceTLS: true,
  channelAuthorization: {
    endpoint: "/api/broadcasting/auth",
    transport: "ajax",
    headers: { Authorization: `Bearer ${localStorage.getItem("token")}` },
  },
});

const show = ({ text }) => {
  const item = document.createElement("li");
  item.textContent = text;
  document.getElementById("notes").append(item);
};

const user = localStorage.getItem("user_id");
pusher.subscribe(`private-encrypted-cache-notes.${user}`).bind("note", show);
pusher.subscribe(`private-encrypted-notes.${user}`).bind("note", show);
pusher.subscribe("private-encrypted-notes.8").bind("pusher:subscription_error", ({ status }) => {
  document.getElementById("refusal").textContent = `refused with ${status}`;
});
