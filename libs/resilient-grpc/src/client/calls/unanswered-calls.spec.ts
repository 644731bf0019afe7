import { describe, expect, it, vi } from 'vitest';
import type { GrpcClientEvent } from '../../call/call-event.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodKind } from '../../call/method.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { UnansweredCalls, type OpenCall } from './unanswered-calls.js';

const remedyAfter = (ms: number) => `nothing received for ${ms} ms`;
const REMEDY = remedyAfter(20_000);

interface StartedCall {
  readonly waiting?: boolean;
  readonly path?: string;
  readonly peer?: string | undefined;
  readonly kind?: MethodKind;
  readonly deadline?: number;
}

function make() {
  const clock = new BusyClock();
  const hub = new EventHub({ client: 'orders' }, () => clock.epoch());
  const reported: unknown[] = [];
  hub.listen((event: GrpcClientEvent) => {
    if (event.type !== 'unanswered-calls') return;
    const { address, paths, oldestMs, remedy } = event;
    reported.push({ address, paths, oldestMs, remedy });
  }, false);
  const calls = new Set<OpenCall>();
  const silent = new Set(['10.0.0.1:1', '10.0.0.2:1']);
  const queried: string[] = [];
  const remedyFor = (peer: string, _since: number, countFrom: number) => {
    queried.push(peer);
    return silent.has(peer) ? remedyAfter(clock.now() - countFrom) : undefined;
  };
  const unanswered = new UnansweredCalls(calls, remedyFor, hub, clock);
  const open = ({
    path = '/Get',
    kind = 'unary',
    deadline = Infinity,
    waiting = false,
    ...rest
  }: StartedCall = {}): OpenCall => {
    const peer = 'peer' in rest ? rest.peer : '10.0.0.1:1';
    const startedAt = clock.now();
    const describe = vi.fn(() => (peer === undefined ? { path } : { path, peer }));
    const call = { kind, deadline, startedAt, waiting, describe };
    calls.add(call);
    if (!unanswered.isScheduled) unanswered.wake();
    return call;
  };
  return { clock, calls, silent, queried, unanswered, reported, open };
}

describe('UnansweredCalls', () => {
  it('reports a call without a deadline when it has waited for 20 s on a silent connection, and again only with another unanswered call', () => {
    const { clock, reported, open } = make();
    open();
    clock.advance(19_999);
    expect(reported).toEqual([]);
    clock.advance(1);
    expect(reported).toEqual([{ address: '10.0.0.1:1', paths: { '/Get': 1 }, oldestMs: 20_000, remedy: REMEDY }]);
    clock.advance(600_000);
    expect(reported).toHaveLength(1);
  });

  it('does not describe calls that wait for a connection, however many there are and however long they wait', () => {
    const { clock, reported, open } = make();
    const calls = Array.from({ length: 1_000 }, () => open({ waiting: true }));
    clock.advance(600_000);
    expect(reported).toEqual([]);
    for (const call of calls) expect(call.describe).not.toHaveBeenCalled();
  });

  it('combines the unanswered calls to one address, including those already reported, into one report and counts them by method', () => {
    const { clock, reported, open } = make();
    open();
    clock.advance(3_000);
    for (const path of ['/Get', '/List']) open({ path });
    open({ peer: '10.0.0.2:1' });
    clock.advance(22_000);
    expect(reported).toEqual([
      { address: '10.0.0.1:1', paths: { '/Get': 1 }, oldestMs: 20_000, remedy: REMEDY },
      { address: '10.0.0.1:1', paths: { '/Get': 2, '/List': 1 }, oldestMs: 25_000, remedy: remedyAfter(25_000) },
      { address: '10.0.0.2:1', paths: { '/Get': 1 }, oldestMs: 22_000, remedy: remedyAfter(22_000) },
    ]);
  });

  it('calls remedyFor() once per address in each check for unanswered calls', () => {
    const { clock, queried, open } = make();
    for (const peer of ['10.0.0.1:1', '10.0.0.3:1', '10.0.0.1:1', '10.0.0.3:1']) open({ peer });
    clock.advance(20_000);
    expect(queried).toEqual(['10.0.0.1:1', '10.0.0.3:1']);
  });

  it('reports the silence since the start of the oldest call in the report', () => {
    const { clock, reported, open } = make();
    open({ deadline: 1e15 });
    clock.advance(300);
    open();
    clock.advance(1_000);
    open();
    clock.advance(24_000);
    expect(reported).toMatchObject([{ paths: { '/Get': 2 }, oldestMs: 24_700, remedy: remedyAfter(24_700) }]);
  });

  it.each<[of: string, call: StartedCall]>([
    ['a call with a deadline', { deadline: 1e15 }],
    ['a response stream', { kind: 'server-stream' }],
    ['a call that waits for a connection', { peer: undefined }],
    ['a call on a connection that receives data', { peer: '10.0.0.3:1' }],
  ])('does not report %s as unanswered', (_, call) => {
    const { clock, reported, open } = make();
    open(call);
    clock.advance(600_000);
    expect(reported).toEqual([]);
  });

  it('reports a call whose connection becomes silent later', () => {
    const { clock, silent, reported, open } = make();
    silent.clear();
    open();
    clock.advance(60_000);
    silent.add('10.0.0.1:1');
    clock.advance(5_000);
    expect(reported).toMatchObject([{ oldestMs: 65_000 }]);
  });

  it('stops checking for unanswered calls when no call is open, and resumes when the next call starts', () => {
    const { clock, calls, reported, open } = make();
    const call = open();
    calls.delete(call);
    clock.advance(5_000);
    expect(clock.pending).toBe(0);
    open();
    clock.advance(20_000);
    expect(reported).toHaveLength(1);
  });

  it('reports no unanswered calls after close()', () => {
    const { clock, unanswered, reported, open } = make();
    open();
    clock.advance(19_000);
    unanswered.close();
    expect(clock.pending).toBe(0);
    clock.advance(60_000);
    expect(reported).toEqual([]);
  });
});
