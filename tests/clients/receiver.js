// An application's webhook receiver: a real HTTP server that keeps what it was sent, and fails when told to.

import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

/**
 * Starts a receiver that `hook` ends. Its `requests` are kept in the order of their answers, each
 * `{ path, headers, rawBody, status }`; `receiver.reply` decides the status of each, null hangs up without one.
 */
export async function startReceiver(hook) {
  const requests = [];
  const server = createServer(async (incoming, outgoing) => {
    const request = { path: incoming.url, headers: incoming.headers, rawBody: await text(incoming) };
    request.status = receiver.reply(request);
    requests.push(request);
    if (request.status === null) incoming.socket.destroy();
    else outgoing.writeHead(request.status).end();
  });
  let isDown = false;
  server.on("connection", (socket) => isDown && socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const receiver = {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    reply: () => 200,
    /** The events taken (answered with 200) on `path`, of one `channel` or of all, oldest first. */
    taken(path, channel) {
      const bodies = requests.filter((request) => request.path === path && request.status === 200);
      const events = bodies.flatMap(({ rawBody }) => JSON.parse(rawBody).events);
      return events.filter((event) => !channel || event.channel === channel);
    },
    /** Ends every connection at once until `up`. It keeps listening: another process could take its port. */
    down() {
      isDown = true;
      server.closeAllConnections();
    },
    up() {
      isDown = false;
    },
  };
  hook(() => {
    server.close();
    server.closeAllConnections();
  });
  return receiver;
}
