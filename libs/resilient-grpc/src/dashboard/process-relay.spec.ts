import { createServer, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../testing/wait-for.js';
import { systemClock } from '../time/clock.js';
import { ProcessRelay } from './process-relay.js';

/** Relays the events that `respond` writes. */
async function relay(respond: (response: ServerResponse) => void) {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    respond(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const events: [string, string][] = [];
  const links: [string, string?][] = [];
  const url = new URL(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`);
  const event = (name: string, json: string): Promise<void> => {
    events.push([name, json]);
    return Promise.resolve();
  };
  const link = (...change: [string, string?]) => void links.push(change);
  const started = new ProcessRelay(url, {}, { event, link }, systemClock);
  onTestFinished(() => {
    started.close();
    server.closeAllConnections();
    server.close();
  });
  return { events, links };
}

describe('ProcessRelay', () => {
  it.each(['\u2028', '\u2029'])(
    'relays the JSON of an event completely if it contains the separator %j',
    async (separator) => {
      const json = JSON.stringify({ details: `order ${separator} not found` });
      const { events } = await relay((response) => response.write(`retry: 1\nevent: whole\ndata: ${json}\n\n`));
      await waitFor(() => events.length === 1);
      expect(events).toEqual([['whole', json]]);
    },
  );

  it('relays events that are split between two chunks', async () => {
    const { events } = await relay((response) => {
      response.write('event: whole\ndata: 1\n', () => {
        setImmediate(() => response.write('\nevent: change\ndata: 2\n\nevent: ch'));
        setImmediate(() => setImmediate(() => response.write('ange\ndata: 3\n\n')));
      });
    });
    await waitFor(() => events.length === 3);
    expect(events).toEqual([
      ['whole', '1'],
      ['change', '2'],
      ['change', '3'],
    ]);
  });
});
