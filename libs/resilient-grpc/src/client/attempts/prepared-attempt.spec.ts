import { Metadata } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { Waiter } from '../../call/call-transport.js';
import { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import { CallRelease } from '../../channel/outage/call-release.js';
import { WaitingCalls } from '../../channel/outage/waiting-calls.js';
import { MEMORY_METHOD } from '../../../../../test/unit-support/memory-runtime.js';
import { VirtualClock, turn } from '../../../../../test/unit-support/virtual-clock.js';
import type { ClientContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/call-hooks.js';
import { withPreparation } from './prepared-attempt.js';

/** Creates a connected channel that has no free stream and releases its waiting calls at a limited rate. */
function startRelease(clock: VirtualClock) {
  const waiting = new WaitingCalls(clock);
  const streams = { free: 0 };
  const ended: unknown[] = [];
  const release = new CallRelease(waiting, {
    load: new LoadBaseline(clock.now()),
    clock,
    usable: () => true,
    hasFreeStream: () => streams.free > 0,
    streamWait: { continues: () => undefined, ended: () => undefined },
    withinMs: 15_000,
  });
  const transport = {
    ready: false,
    isConnected: true,
    wait: (waiter: Waiter) => {
      waiting.push(waiter);
      release.begin(true);
    },
    releasedCallEnded: (result: 'cancelled', waiter: Waiter) => {
      ended.push(result);
      release.ended(waiter, result);
    },
    dequeue: (waiter: Waiter) => void waiting.remove(waiter),
    whyNotReady: () => 'no free stream',
  };
  // Safe: the attempt uses no other members.
  return { streams, ended, waiting, client: { clock, transport } as unknown as ClientContext };
}

/** Starts an attempt whose metadata function is asynchronous. `sent` receives each attempt that starts. */
async function startAttempt(client: ClientContext, sent: AttemptRequest[]) {
  const call = { client: 'memory', path: MEMORY_METHOD.path, metadata: new Metadata() } as OutgoingCall;
  const metadataSource = () => Promise.resolve(new Metadata());
  const start = withPreparation(
    (request) => {
      sent.push(request);
      return { peer: undefined, startRead() {}, send() {}, halfClose() {}, cancel() {}, abandon() {} };
    },
    call,
    { hooks: undefined, metadataSource },
    client,
    { isOpen: () => true },
  );
  const request = { method: MEMORY_METHOD, deadline: Infinity, metadata: new Metadata(), number: 1 };
  const attempt = start(request as AttemptRequest, {
    onHeaders: () => undefined,
    onMessage: () => undefined,
    onEnd: (end: AttemptEnd) => expect.unreachable(end.details),
  });
  await turn();
  return attempt;
}

it('reports the wait for a stream as ended when the attempt starts, so that a paced release does not count the wait as a call without a response', async () => {
  const clock = new VirtualClock();
  const { streams, ended, client } = startRelease(clock);
  const sent: AttemptRequest[] = [];
  await startAttempt(client, sent);
  clock.advance(0);
  expect([sent.length, ended]).toEqual([0, []]);
  streams.free = 1;
  clock.advance(1_000);
  expect([sent.length, ended]).toEqual([1, ['cancelled']]);
});

it('reports nothing to a paced release if the attempt is abandoned while it waits for a stream', async () => {
  const clock = new VirtualClock();
  const { streams, ended, waiting, client } = startRelease(clock);
  const sent: AttemptRequest[] = [];
  const attempt = await startAttempt(client, sent);
  attempt.abandon();
  expect(waiting.size).toBe(0);
  streams.free = 1;
  clock.advance(1_000);
  expect([sent, ended]).toEqual([[], []]);
});
