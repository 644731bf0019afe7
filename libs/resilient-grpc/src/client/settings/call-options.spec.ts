import { describe, expect, it } from 'vitest';
import type { GrpcCallOptions } from '../resilient-types.js';
import { areCallOptionsValid, callOptionProblems } from './method-options.js';

function problemOf(options: unknown): string | undefined {
  // The cast is needed, because callers in JavaScript can pass anything.
  const call = options as GrpcCallOptions;
  const problems = callOptionProblems(call, 'options').map(({ path, message }) => `${path}: ${message}`);
  expect(areCallOptionsValid(call)).toBe(problems.length === 0);
  return problems.length === 0 ? undefined : problems.join('\n');
}

describe('options of a call', () => {
  it.each([
    [{ timeout: 1 }, "options.timeout: unknown option; did you mean 'timeoutMs'?"],
    [{ timeoutMS: 1 }, "options.timeoutMS: unknown option; did you mean 'timeoutMs'?"],
    [{ deadlin: new Date() }, "options.deadlin: unknown option; did you mean 'deadline'?"],
    [{ headers: {} }, "options.headers: unknown option; did you mean 'onHeaders'?"],
    [{ header: {} }, 'options.header: unknown option'],
    [{ timeoutMs: '500' }, 'options.timeoutMs: expected >0, got "500"'],
    [{ streamIdleTimeoutMs: NaN }, 'options.streamIdleTimeoutMs: expected '],
    [{ waitForReady: 'yes' }, 'options.waitForReady: expected boolean, got "yes"'],
    [{ idempotent: 'true' }, 'options.idempotent: expected boolean, got "true"'],
    [{ retry: true }, 'options.retry: expected false, got true'],
    [{ propagate: 0 }, 'options.propagate: expected false, got 0'],
    [{ signal: new AbortController() }, 'options.signal: expected an AbortSignal, got'],
    [{ onEnd: 'log' }, 'options.onEnd: expected Function, got "log"'],
    [{ onHeaders: {} }, 'options.onHeaders: expected Function, got an empty object'],
    [{ host: 5 }, 'options.host: expected string, got 5'],
    [{ propagate_flags: '1' }, 'options.propagate_flags: expected number, got "1"'],
    [{ interceptors: () => undefined }, 'options.interceptors: expected Array, got a function'],
    [{ interceptor_providers: {} }, 'options.interceptor_providers: expected Array, got'],
    [{ credentials: 'token' }, "options.credentials: expected grpc-js's CallCredentials, got a string of length 5"],
    [{ parent: {} }, "options.parent: expected the inbound call that grpc-js's server passes to its handler, got"],
    [500, 'options: expected an object, got 500'],
    [new Map(), 'options: expected an object, got a Map'],
    [new Map([['timeoutMs', 500]]), 'options: expected an object, got a Map'],
  ])('rejects the call options %o', (options, message) => {
    expect(problemOf(options)).toContain(message);
  });

  it.each([
    {},
    { timeot: undefined, timeoutMs: undefined },
    { timeoutMs: 5, streamIdleTimeoutMs: Infinity },
    { idempotent: true, waitForReady: false, retry: false, propagate: false, metadata: { 'x-tenant': 'shop' } },
    { signal: AbortSignal.timeout(5), onHeaders: () => undefined, onEnd: () => undefined },
    { deadline: Date.now(), host: 'shop', propagate_flags: 0xffff, interceptors: [], interceptor_providers: [] },
    { credentials: {}, parent: { getDeadline: () => Infinity } },
    {
      host: null,
      credentials: null,
      interceptors: null,
      interceptor_providers: null,
      propagate_flags: null,
      parent: null,
    },
    Object.create({ timeoutMs: 5 }) as object,
  ])('accepts the call options %o', (options) => {
    expect(problemOf(options)).toBeUndefined();
  });

  it('does not report an infinite timeoutMs as a problem if another call option is invalid', () => {
    expect(problemOf({ timeoutMs: Infinity, idempotent: 0 })).not.toContain('timeoutMs');
  });

  it('lists all problems of the call options', () => {
    expect(problemOf({ timeout: 5, retry: 'no' })).toMatch(/options\.timeout: unknown option.*\n?.*options\.retry/s);
  });

  it('rejects an invalid duration that call options inherit, even if it is not enumerable', () => {
    class Options {
      get timeoutMs(): number {
        return NaN;
      }
    }
    expect(problemOf(new Options())).toContain('options.timeoutMs: expected >0, got NaN');
  });
});
