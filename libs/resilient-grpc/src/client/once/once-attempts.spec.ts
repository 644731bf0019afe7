import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { AttemptEnd } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { SUCCESS, type Verdict } from '../../policy/evidence/classify.js';
import type { ClientContext } from '../call-context.js';
import { OnceAttempts } from './once-attempts.js';
import { OnceMethod, OnceServers } from './once-method.js';

const TTL = 1_000;

/** The end of an attempt that named another store than `scope`, at `now` of that store. */
function elsewhere(scope: string, now: number): AttemptEnd {
  const metadata = new Metadata();
  const trailers = { once: 'elsewhere', 'once-scope': scope, 'once-now': String(now), 'once-ttl': String(TTL) };
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value);
  return { metadata } as AttemptEnd;
}

const REFUSED: Verdict = { ...SUCCESS, kind: 'server', code: 9 };

function setUp() {
  const clock = new VirtualClock();
  const client = { clock, events: { wanted: false } } as unknown as ClientContext;
  const servers = new OnceServers('/s.S/M', clock, client.events);
  const method = new OnceMethod({ path: '/s.S/M' } as MethodDescriptor, true, servers);
  const attempts = new OnceAttempts(method, 'key', Infinity, client);
  return { clock, servers, attempts, sent: () => attempts.fields.slice(3) };
}

describe('OnceAttempts', () => {
  it('names the store at first that the servers have named by then, also if the call has waited for them', () => {
    const { servers, attempts, sent } = setUp();
    servers.learn(elsewhere('s1', 5_000).metadata);
    expect(attempts.namesStore).toBe(true);
    const waiting = setUp();
    for (const scope of ['s1', 's2']) waiting.servers.learn(elsewhere(scope, 5_000).metadata);
    expect(waiting.sent()[0]).toBe('s2');
    // Not after the first attempt, which may run.
    servers.learn(elsewhere('s2', 5_000).metadata);
    expect(sent()[0]).toBe('s1');
  });

  it.each([
    ['finds servers without the feature', 12, 'plain', true],
    ['finds that a path is forbidden, at first for one caller only', 7, 'plain', false],
  ] as const)('%s by a status after headers, which proxies send before it', (_name, code, decision, areWithout) => {
    const { servers, attempts, sent } = setUp();
    sent();
    const end = { metadata: new Metadata() } as AttemptEnd;
    const judged = attempts.judge(end, { ...SUCCESS, kind: 'committed', code });
    expect([judged.decision, judged.verdict.code]).toEqual([decision, code]);
    attempts.note(end, judged);
    expect(servers.areWithout).toBe(areWithout);
  });

  it('repeats an answer without trailers, but no refusal that came after headers', () => {
    const { servers, attempts } = setUp();
    servers.learn(elsewhere('s1', 5_000).metadata);
    expect(attempts.namesStore).toBe(true);
    const judged = (given: Partial<Verdict>) =>
      attempts.judge({ metadata: new Metadata() } as AttemptEnd, { ...SUCCESS, kind: 'committed', ...given }).verdict;
    expect(judged({ code: 8 })).toMatchObject({ kind: 'committed', code: 8 });
    expect(judged({ code: 13, lacksTrailers: true })).toMatchObject({ kind: 'connection-lost', code: 14 });
  });

  it('names one last begin to all attempts at a store, whatever other calls learn of its clock', () => {
    const { clock, servers, attempts, sent } = setUp();
    const refuse = (end: AttemptEnd): void => attempts.note(end, attempts.judge(end, REFUSED));
    expect(sent()).toEqual(['?']);
    refuse(elsewhere('s1', 5_000));
    expect(sent()).toEqual(['s1', 'once-before', '5500']);
    clock.advance(100);
    servers.learn(elsewhere('s1', 5_140).metadata);
    expect(sent()).toEqual(['s1', 'once-before', '5500']);
    refuse(elsewhere('s2', 7_100));
    expect(sent()).toEqual(['s2', 'once-before', '7500']);
  });
});
