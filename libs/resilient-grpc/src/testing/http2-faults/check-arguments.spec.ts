import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkCallFault, checkGoaway, checkPings, checkStreamLimit, checkTls } from './check-arguments.js';

const CODE = "code as a name of HTTP/2's error codes or an integer from 0 to 4294967295";
const POINT = "at as 'request', 'headers', 'trailers', { afterRequests } or { afterResponses } with an integer";
const tlsFile = (name: string) =>
  readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));

describe('arguments of faults of HTTP/2', () => {
  it.each([
    [{ kind: 'rst', code: 1 }, {}, "kind as 'reset', 'missing-trailers' or 'goaway', got 'rst'"],
    [{ kind: 'reset', code: -1 }, {}, `${CODE}, got -1`],
    [{ kind: 'reset', code: 2 ** 32 }, {}, `${CODE}, got 4294967296`],
    [{ kind: 'reset', code: 'REFUSED' }, {}, `${CODE}, got 'REFUSED'`],
    [{ kind: 'reset', code: 'toString' }, {}, `${CODE}, got 'toString'`],
    [{ kind: 'reset' }, {}, `${CODE}, got undefined`],
    [{ kind: 'reset', code: 1, at: 'header' }, {}, `${POINT}, got 'header'`],
    [{ kind: 'reset', code: 1, at: { afterRequests: -1 } }, {}, `${POINT}, got {"afterRequests":-1}`],
    [{ kind: 'reset', code: 1, at: { after: 1 } }, {}, `${POINT}, got {"after":1}`],
    [{ kind: 'reset', code: 1, direction: 'both' }, {}, "direction as 'to-client' or 'to-upstream', got 'both'"],
    [{ kind: 'goaway', code: NaN }, {}, `${CODE}, got NaN`],
    [{ kind: 'goaway', debugData: 7 }, {}, 'debugData as a string of up to 16376 bytes, got 7'],
    [{ kind: 'missing-trailers' }, { method: '' }, "method as 'Get' or the like, got ''"],
    [{ kind: 'missing-trailers' }, { times: 0 }, 'times as an integer of 1 or more or Infinity, got 0'],
  ])('refuse failCalls(%j, %j)', (fault, choice, expected) => {
    expect(() => checkCallFault(fault as never, choice)).toThrow(new RangeError(`failCalls: expected ${expected}`));
  });

  it.each([
    [{ code: 'NONE' }, `${CODE}, got 'NONE'`],
    [{ lastStreamId: -7 }, "lastStreamId as 'newest', 'none' or an integer from 0 to 2147483647, got -7"],
    [
      { lastStreamId: 2 ** 31 + 1 },
      "lastStreamId as 'newest', 'none' or an integer from 0 to 2147483647, got 2147483649",
    ],
    [{ lastStreamId: 'last' }, "lastStreamId as 'newest', 'none' or an integer from 0 to 2147483647, got 'last'"],
    [{ debugData: 'x'.repeat(16_377) }, `debugData as a string of up to 16376 bytes, got '${'x'.repeat(99)}`],
  ])('refuse goaway(%j)', (options, expected) => {
    expect(() => checkGoaway(options as never)).toThrow(new RangeError(`goaway: expected ${expected}`));
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 32])('refuse to limit streams to %d', (max) => {
    expect(() => checkStreamLimit(max)).toThrow(
      new RangeError(`limitStreams: expected max as an integer from 0 to 4294967295 or undefined, got ${max}`),
    );
  });

  it.each([-1, 1.5, NaN])('refuse too many pings after %d', (pings) => {
    expect(() => checkPings(pings)).toThrow(
      new RangeError(`tooManyPingsAfter: expected pings as an integer of 0 or more or undefined, got ${pings}`),
    );
  });

  it('take what there is', () => {
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
    ['a certificate that is none', { key: tlsFile('server-key'), cert: 'x' }],
    ['a key of another certificate', { key: tlsFile('client-key'), cert: tlsFile('server') }],
    ['a key that is none', { key: 'x', cert: tlsFile('server') }],
  ])('name the option that has %s', (_, tls) => {
    expect(() => checkTls('upstreamTls', tls)).toThrow(TypeError);
    expect(() => checkTls('upstreamTls', tls)).toThrow(
      'Http2FaultProxy: expected upstreamTls with a key and its certificate, and ca, in PEM: ',
    );
  });
});
