import { describe, expect, it } from 'vitest';
import type { Attempt } from '../../call/attempt.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import type { MethodKind } from '../../call/method.js';
import { CallRegistry, type RegisteredCall } from './call-registry.js';
import type { ClientDrainMode } from '../resilient-types.js';

const MORE_TIME = 'to give calls more time, raise';
const END_STREAM =
  "if the stream has no end, set onDrain: 'complete' (the default in resumable) or 'fail'; otherwise, raise";

type Changeable = { -readonly [K in keyof RegisteredCall]: RegisteredCall[K] };

function make(count: number) {
  const clock = new BusyClock();
  const registry = new CallRegistry(clock);
  const ended: string[] = [];
  const calls = Array.from({ length: count }, (_, index): Changeable => {
    const call: Changeable = {
      onDrain: 'finish',
      kind: 'unary',
      deadline: Infinity,
      startedAt: clock.now(),
      complete: () => {
        ended.push(`${index} completed`);
        registry.delete(call, 'succeeded');
      },
      describe: () => ({ path: `/${index}` }) as never,
      failBackoff: () => false,
      terminate: (reason, details) => {
        ended.push(`${index} ${reason}: ${details}`);
        registry.delete(call, 'failed');
      },
    };
    registry.add(call);
    return call;
  });
  return { clock, registry, calls, ended };
}

describe('CallRegistry', () => {
  it('lists the open calls of a client and counts its started calls', () => {
    const { registry, calls } = make(3);
    registry.delete(calls[1]!, 'succeeded');
    expect(registry.list().map(({ path }) => path)).toEqual(['/0', '/2']);
    expect({ size: registry.size, started: registry.started }).toEqual({ size: 2, started: 3 });
  });
});

/** Report of a drain without calls. */
const EMPTY_REPORT = { finished: 0, failed: 0, completed: 0, ended: 0, cancelled: 0, cutOffByPath: {}, durationMs: 0 };

describe('drain', () => {
  it('ends a drain immediately if no call is running', async () => {
    const { registry, clock } = make(0);
    expect(await registry.drain(10_000)).toEqual(EMPTY_REPORT);
    expect(registry.accepting).toBe('draining');
    expect(clock.pending).toBe(0);
  });

  it('waits during a drain for a call whose response was unread when the drain timeout expired', async () => {
    const { registry, clock, calls, ended } = make(1);
    const report = registry.drain(1_000);
    clock.setTimer(() => registry.delete(calls[0]!, 'succeeded'), 2_000);
    clock.block(3_000);
    await clock.advanceAsync(3_000);
    expect(await report).toMatchObject({ finished: 1, cancelled: 0 });
    expect(ended).toEqual([]);
  });

  it.each<[kind: MethodKind, onDrain: ClientDrainMode, remedy: string, hasCutOffStream: boolean]>([
    ['unary', 'finish', MORE_TIME, false],
    ['client-stream', 'finish', MORE_TIME, false],
    ['server-stream', 'finish', END_STREAM, true],
    ['bidi', 'finish', END_STREAM, true],
    // A `replayUnacknowledged` session that is still waiting for acknowledgments needs more time.
    ['bidi', 'complete', MORE_TIME, false],
  ])(
    "suggests the matching remedy in the error of a cut-off %s call with onDrain: '%s'",
    async (kind, onDrain, remedy, hasCutOffStream) => {
      const { registry, clock, calls, ended } = make(1);
      Object.assign(calls[0]!, { kind, onDrain, complete: () => undefined });
      expect(registry.hasFinishingStream).toBe(hasCutOffStream);
      const report = registry.drain(10_000);
      await clock.advanceAsync(10_000);
      await report;
      expect(ended).toEqual([
        `0 draining: The client was shut down: the call did not finish within 10 s; ${remedy} timeoutMs of drain()`,
      ]);
      expect([registry.hasFinishingStream, registry.hasCutOffStream]).toEqual([false, hasCutOffStream]);
    },
  );

  it('suggests timeoutMs in the error of a cut-off call if the drain timeout is 0', async () => {
    const { registry, clock, ended } = make(1);
    const report = registry.drain(0);
    await clock.advanceAsync(0);
    expect(await report).toMatchObject({ cancelled: 1 });
    expect(ended).toEqual([
      '0 draining: The client was shut down; to let calls finish first, set timeoutMs of drain()',
    ]);
  });

  it('shortens the drain if drain() is called again with a shorter timeout', async () => {
    const { registry, clock, ended } = make(1);
    const report = registry.drain(10_000);
    clock.advance(1_000);
    void registry.drain(500);
    void registry.drain(5_000);
    clock.advance(500);
    expect(await report).toMatchObject({ cancelled: 1, durationMs: 1_500 });
    expect(ended).toEqual([expect.stringContaining('did not finish within 500 ms; ')]);
  });
});

describe('endStreams', () => {
  it("completes streams (onDrain: 'complete') on endStreams(), keeps other calls running, and counts the completed streams in the report of the next drain", async () => {
    const { registry, clock, calls, ended } = make(3);
    calls[0]!.onDrain = 'complete';
    expect(registry.areStreamsEnding).toBe(false);
    await registry.endStreams();
    expect(registry.areStreamsEnding).toBe(true);
    expect(ended).toEqual(['0 completed']);
    expect({ accepting: registry.accepting, size: registry.size }).toEqual({ accepting: 'yes', size: 2 });
    const report = registry.drain(10_000);
    clock.advance(10_000);
    expect(await report).toMatchObject({ finished: 0, completed: 1, cancelled: 2 });
  });

  it('ends many streams in batches of 100 on endStreams()', async () => {
    const { registry, clock, calls, ended } = make(250);
    for (const call of calls) call.onDrain = 'complete';
    const over = registry.endStreams();
    await clock.advanceAsync(0);
    expect(ended).toHaveLength(100);
    await clock.advanceAsync(10);
    expect(ended).toHaveLength(200);
    await clock.advanceAsync(10);
    expect(ended).toHaveLength(250);
    await over;
  });

  it('clears all timers when a drain expires or the call registry is closed while streams are being ended', async () => {
    for (const endEarly of ['drain', 'close'] as const) {
      const { registry, clock, calls } = make(250);
      for (const call of calls) call.onDrain = 'complete';
      const ended = registry.endStreams();
      await clock.advanceAsync(0);
      if (endEarly === 'close') registry.close();
      else await Promise.all([registry.drain(1), clock.advanceAsync(5)]);
      expect(registry.size).toBe(0);
      expect(clock.pending).toBe(0);
      await ended;
    }
  });

  it('resets the first 900 attempts that are abandoned after endStreams(), and postpones further resets until close(), because they would end the connection', () => {
    const { registry } = make(1);
    let resets = 0;
    const attempt = { abandon: () => (resets += 1) } as unknown as Attempt;
    void registry.endStreams();
    for (let stream = 0; stream < 1_000; stream++) registry.abandon(attempt);
    expect(resets).toBe(900);
    registry.close();
    expect(resets).toBe(1_000);
  });

  it('abandons an unsent attempt immediately even after 900 resets, because it could otherwise be sent before close()', () => {
    const { registry } = make(1);
    void registry.endStreams();
    let abandoned = 0;
    const sent = { abandon: () => undefined } as unknown as Attempt;
    const unsent = { unsentBecause: 'waiting for an interceptor', abandon: () => (abandoned += 1) };
    for (let stream = 0; stream < 900; stream++) registry.abandon(sent);
    registry.abandon(unsent as unknown as Attempt);
    expect(abandoned).toBe(1);
  });

  it("passes the reason 'deadline' to abandon() of an attempt even if its reset was postponed until close()", () => {
    const { registry } = make(1);
    const reasons: (string | undefined)[] = [];
    const attempt = { abandon: (because?: string) => reasons.push(because) } as unknown as Attempt;
    void registry.endStreams();
    for (let stream = 0; stream < 900; stream++) registry.abandon(attempt);
    registry.abandon(attempt, 'deadline');
    registry.abandon(attempt);
    registry.close();
    expect(reasons.slice(900)).toEqual(['deadline', undefined]);
  });

  it('does not count a stream as completed if it ended before its batch', async () => {
    const { registry, clock, calls, ended } = make(101);
    for (const call of calls) call.onDrain = 'complete';
    void registry.endStreams();
    await clock.advanceAsync(0);
    registry.delete(calls[100]!, 'cancelled');
    await clock.advanceAsync(10);
    expect(ended).toHaveLength(100);
    expect(await registry.drain(10)).toMatchObject({ finished: 0, completed: 100, cancelled: 0 });
  });
});
