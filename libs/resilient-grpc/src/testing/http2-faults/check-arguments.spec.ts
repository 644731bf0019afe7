import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkCallFault, checkGoaway, checkPings, checkStreamLimit, checkTls } from './check-arguments.js';

const CODE = 'code to be the name of an HTTP/2 error code or an integer from 0 to 4294967295';
const POINT = "at to be 'request', 'headers', 'trailers', or { afterRequests } or { afterResponses } with an integer";
const tlsFile = (name: string) =>
  readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));

describe('HTTP/2 fault arguments', () => {
  it.each([
    [{ kind: 'rst', code: 1 }, {}, "kind to be 'reset', 'missing-trailers', or 'goaway', got 'rst'"],
    [{ kind: 'reset', code: -1 }, {}, `${CODE}, got -1`],
    [{ kind: 'reset', code: 2 ** 32 }, {}, `${CODE}, got 4294967296`],
    [{ kind: 'reset', code: 'REFUSED' }, {}, `${CODE}, got 'REFUSED'`],
    [{ kind: 'reset', code: 'toString' }, {}, `${CODE}, got 'toString'`],
    [{ kind: 'reset' }, {}, `${CODE}, got undefined`],
    [{ kind: 'reset', code: 1, at: 'header' }, {}, `${POINT}, got 'header'`],
    [{ kind: 'reset', code: 1, at: { afterRequests: -1 } }, {}, `${POINT}, got {"afterRequests":-1}`],
    [{ kind: 'reset', code: 1, at: { after: 1 } }, {}, `${POINT}, got {"after":1}`],
    [{ kind: 'reset', code: 1, direction: 'both' }, {}, "direction to be 'to-client' or 'to-upstream', got 'both'"],
    [{ kind: 'goaway', code: NaN }, {}, `${CODE}, got NaN`],
    [{ kind: 'goaway', debugData: 7 }, {}, 'debugData to be a string of up to 16376 bytes, got 7'],
    [{ kind: 'missing-trailers' }, { method: '' }, "method to be a method name such as 'Get', got ''"],
    [{ kind: 'missing-trailers' }, { times: 0 }, 'times to be an integer of 1 or more, or Infinity, got 0'],
  ])('rejects failCalls(%j, %j)', (fault, choice, expected) => {
    expect(() => checkCallFault(fault as never, choice)).toThrow(new RangeError(`failCalls: expected ${expected}`));
  });

  it.each([
    [{ code: 'NONE' }, `${CODE}, got 'NONE'`],
    [{ lastStreamId: -7 }, "lastStreamId to be 'newest', 'none', or an integer from 0 to 2147483647, got -7"],
    [
      { lastStreamId: 2 ** 31 + 1 },
      "lastStreamId to be 'newest', 'none', or an integer from 0 to 2147483647, got 2147483649",
    ],
    [{ lastStreamId: 'last' }, "lastStreamId to be 'newest', 'none', or an integer from 0 to 2147483647, got 'last'"],
    [{ debugData: 'x'.repeat(16_377) }, `debugData to be a string of up to 16376 bytes, got '${'x'.repeat(99)}`],
  ])('rejects goaway(%j)', (options, expected) => {
    expect(() => checkGoaway(options as never)).toThrow(new RangeError(`goaway: expected ${expected}`));
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 32])('rejects limitStreams(%d)', (max) => {
    expect(() => checkStreamLimit(max)).toThrow(
      new RangeError(`limitStreams: expected max to be an integer from 0 to 4294967295, or undefined, got ${max}`),
    );
  });

  it.each([-1, 1.5, NaN])('rejects tooManyPingsAfter(%d)', (pings) => {
    expect(() => checkPings(pings)).toThrow(
      new RangeError(`tooManyPingsAfter: expected pings to be an integer of 0 or more, or undefined, got ${pings}`),
    );
  });

  it('accepts valid HTTP/2 fault arguments, including those at their limits', () => {
    for (const at of ['request', 'headers', { afterRequests: 0 }, { afterResponses: 2 }, 'trailers'] as const) {
      checkCallFault({ kind: 'reset', code: 2 ** 32 - 1, at, direction: 'to-upstream' }, { times: Infinity });
    }
    checkCallFault({ kind: 'goaway', code: 'CANCEL', debugData: '' }, { method: 'Get' });
    for (const lastStreamId of [0, 2 ** 31 - 1, 'none', 'newest', undefined] as const) checkGoaway({ lastStreamId });
    for (const count of [0, 1, undefined]) {
      checkStreamLimit(count);
      checkPings(count);
    }
    checkTls('tls', { key: tlsFile('server-key'), cert: tlsFile('server'), ca: tlsFile('ca') });
  });

  it.each([
    ['an invalid certificate', { key: tlsFile('server-key'), cert: 'x' }],
    ['a key that does not match its certificate', { key: tlsFile('client-key'), cert: tlsFile('server') }],
    ['an invalid key', { key: 'x', cert: tlsFile('server') }],
  ])('names the TLS option of Http2FaultProxy that contains %s', (_, tls) => {
    expect(() => checkTls('upstreamTls', tls)).toThrow(TypeError);
    expect(() => checkTls('upstreamTls', tls)).toThrow(
      'Http2FaultProxy: expected upstreamTls to have key, cert, and ca in PEM format: ',
    );
  });
});
