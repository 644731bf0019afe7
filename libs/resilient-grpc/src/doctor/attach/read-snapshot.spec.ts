import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { readSnapshot } from './read-snapshot.js';

async function urlOf(listener: RequestListener): Promise<URL> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return new URL(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/grpc`);
}

it.each([[{ connection: 'close', 'transfer-encoding': 'identity' }], [{}], [{ 'content-length': 1_000 }]])(
  'limits the total time of a snapshot request if the server continues to send single bytes (response headers: %j)',
  async (headers) => {
    const url = await urlOf((_request, response) => {
      response.writeHead(200, headers);
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => {
        clearInterval(timer);
      });
    });
    expect(await readSnapshot({ url, headers: {} }, 200)).toMatchObject({
      ok: false,
      finding: [expect.stringMatching(/ does not send a complete response within 200 ms$/), expect.any(String)],
    });
  },
);
