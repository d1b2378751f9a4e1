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
  const listen = async (port) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return server.address().port;
  };
  const port = await listen(0);

  const receiver = {
    url: `http://127.0.0.1:${port}`,
    requests,
    reply: () => 200,
    /** The events taken (answered with 200) on `path`, of one `channel` or of all, oldest first. */
    taken(path, channel) {
      const bodies = requests.filter((request) => request.path === path && request.status === 200);
      const events = bodies.flatMap(({ rawBody }) => JSON.parse(rawBody).events);
      return events.filter((event) => !channel || event.channel === channel);
    },
    /** Refuses connections until `up`. */
    async down() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
    up: () => listen(port),
  };
  hook(() => {
    server.close();
    server.closeAllConnections();
  });
  return receiver;
}
