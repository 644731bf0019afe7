import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
import { waitFor } from '../testing/wait-for.js';
import { EventStream } from './event-stream.js';

const LARGE = JSON.stringify('x'.repeat(1_000_000));

describe('events to one visitor', () => {
  let clock: VirtualClock;
  let server: Server;
  let response: ServerResponse;
  let visitor: IncomingMessage;
  let stream: EventStream;
  let hasLeft: () => boolean;

  beforeEach(async () => {
    clock = new VirtualClock();
    server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const request = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: false });
    [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
    // Of this one alone: that of the test before may be told late.
    const own = { left: false };
    hasLeft = () => own.left;
    stream = new EventStream(response, clock, () => (own.left = true));
    [visitor] = (await once(request, 'response')) as [IncomingMessage];
    visitor.on('error', () => undefined);
    visitor.pause();
  });
  afterEach(async () => {
    visitor.destroy();
    server.close();
    await once(server, 'close');
  });

  const fillUp = () => {
    for (let sent = 0; sent < 100 && !stream.isBlocked; sent++) stream.send('change', LARGE);
  };

  it('do not queue up for one who does not read, however long it lasts', async () => {
    fillUp();
    expect(stream.isBlocked).toBe(true);
    const held = response.writableLength;
    for (let i = 0; i < 100; i++) stream.send('change', LARGE);
    expect(response.writableLength).toBe(held);
    expect(held).toBeLessThan(2_200_000);
    // It reads again, and is told again.
    let text = '';
    visitor.on('data', (chunk) => (text += String(chunk)));
    visitor.resume();
    await waitFor(() => !stream.isBlocked);
    stream.send('whole', '1');
    await waitFor(() => text.endsWith('event: whole\ndata: 1\n\n'));
  });

  it('end for one who takes nothing for half a minute', async () => {
    fillUp();
    clock.advance(29_999);
    expect(hasLeft()).toBe(false);
    clock.advance(1);
    await waitFor(hasLeft);
    expect(clock.pending).toBe(0);
  });

  it('end with a word', async () => {
    let text = '';
    visitor.on('data', (chunk) => (text += String(chunk)));
    visitor.resume();
    stream.send('whole', '{"a":1}');
    stream.end();
    // Between the last word and the end of the connection.
    stream.send('change', '{}');
    await once(visitor, 'close');
    expect(text).toBe('retry: 1000\n\nevent: whole\ndata: {"a":1}\n\nevent: end\ndata: {}\n\n');
    await waitFor(hasLeft);
    expect(clock.pending).toBe(0);
    // Too late is no mistake.
    stream.send('change', '{}');
    stream.end();
  });

  it('are cut half a second after the end for one who does not read', async () => {
    fillUp();
    stream.end();
    clock.advance(499);
    expect(hasLeft()).toBe(false);
    clock.advance(1);
    await waitFor(hasLeft);
  });
});
