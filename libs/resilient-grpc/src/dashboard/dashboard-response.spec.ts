import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../testing/wait-for.js';
import { EventStream } from './dashboard-response.js';

const LARGE = JSON.stringify('x'.repeat(1_000_000));

describe('EventStream', () => {
  let clock: VirtualClock;
  let server: Server;
  let response: ServerResponse;
  let visitor: IncomingMessage;
  let stream: EventStream;
  let hasEnded: () => boolean;

  beforeEach(async () => {
    clock = new VirtualClock();
    server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const request = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: false });
    [, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse];
    // Uses a new object for each test, because the previous test's stream may end late.
    const state = { ended: false };
    hasEnded = () => state.ended;
    stream = new EventStream(response, clock, undefined, () => (state.ended = true));
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

  it('drops events instead of buffering them for a visitor that does not read', async () => {
    fillUp();
    expect(stream.isBlocked).toBe(true);
    const held = response.writableLength;
    for (let i = 0; i < 100; i++) stream.send('change', LARGE);
    expect(response.writableLength).toBe(held);
    expect(held).toBeLessThan(2_200_000);
    // The visitor reads again and receives events again.
    let text = '';
    visitor.on('data', (chunk) => (text += String(chunk)));
    visitor.resume();
    await waitFor(() => !stream.isBlocked);
    stream.send('whole', '1');
    await waitFor(() => text.endsWith('event: whole\ndata: 1\n\n'));
  });

  it('disconnects a visitor that reads nothing for 30 s', async () => {
    fillUp();
    clock.advance(29_999);
    expect(hasEnded()).toBe(false);
    clock.advance(1);
    await waitFor(hasEnded);
    expect(clock.pending).toBe(0);
  });

  it('sends a visitor a final event on end() and ignores later send() and end() calls', async () => {
    let text = '';
    visitor.on('data', (chunk) => (text += String(chunk)));
    visitor.resume();
    stream.send('whole', '{"a":1}');
    stream.end();
    // Called after the final event, but before the connection ends.
    stream.send('change', '{}');
    await once(visitor, 'close');
    expect(text).toBe('retry: 1000\n\nevent: whole\ndata: {"a":1}\n\nevent: end\ndata: {}\n\n');
    await waitFor(hasEnded);
    expect(clock.pending).toBe(0);
    // Calls after the end are allowed.
    stream.send('change', '{}');
    stream.end();
  });

  it('disconnects a visitor half a second after end() if the visitor does not read', async () => {
    fillUp();
    stream.end();
    clock.advance(499);
    expect(hasEnded()).toBe(false);
    clock.advance(1);
    await waitFor(hasEnded);
  });
});
