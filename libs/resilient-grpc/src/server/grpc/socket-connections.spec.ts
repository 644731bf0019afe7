import { connect } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { FLAG, FRAME, FrameReader, PREFACE, ping, settings } from '../../../../../test/unit-support/frames.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { EventHub } from '../../call/event-hub.js';
import { waitFor } from '../../testing/wait-for.js';
import { SocketConnections, type ConnectionAges } from './socket-connections.js';
import { transportSettings } from './transport-settings.js';

const NO_LIMITS = {
  maxConnectionAgeMs: undefined,
  maxConnectionAgeGraceMs: undefined,
  connectionIdleTimeoutMs: undefined,
};
const LIMIT_MS = 5_000;
const PING = Buffer.alloc(8, 7);

it.each<[string, Partial<ConnectionAges>]>([
  ['its age', { maxConnectionAgeMs: LIMIT_MS }],
  ['its idle time', { connectionIdleTimeoutMs: LIMIT_MS }],
])('ends no connection because of %s before its client has sent its settings', async (_limit, ages) => {
  const clock = new VirtualClock();
  const connections = new SocketConnections(
    transportSettings({ 'grpc.keepalive_time_ms': 0 }, 1),
    { ...NO_LIMITS, ...ages },
    {
      clock,
      random: () => 0.5,
      events: new EventHub({}, () => 0),
      endCallsOf: () => undefined,
    },
  );
  const listener = await connections.listen({ port: 0, host: '127.0.0.1' }, undefined, () => {
    throw new Error('no call is made');
  });
  onTestFinished(() => connections.destroyAll());
  const socket = connect({ port: listener.port ?? 0, host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  const seen: string[] = [];
  const reader = new FrameReader(0, ({ type, flags, payload }) => {
    if (type === FRAME.goaway) seen.push('GOAWAY');
    if (type === FRAME.ping && flags === FLAG.ack && payload.equals(PING)) seen.push('answer');
    if (type === FRAME.ping && flags !== FLAG.ack) socket.write(ping(payload, FLAG.ack));
  });
  socket.on('data', (bytes: Buffer) => reader.read(bytes));
  await waitFor(() => listener.size === 1 && clock.pending > 1);
  clock.advance(LIMIT_MS + 3_000);
  socket.write(Buffer.concat([PREFACE, settings(), ping(PING)]));
  await waitFor(() => seen.length > 0);
  expect(seen).toEqual(['answer']);
  await waitFor(() => {
    clock.advance(1_000);
    return seen.length > 1;
  });
  expect(seen).toContain('GOAWAY');
});
