import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { checkCallFault, checkGoaway, checkOptions, checkPings, checkStreamLimit } from './check-arguments.js';

const CODE = 'code: expected the name of an HTTP/2 error code or an integer from 0 to 4294967295';
const POINT =
  "at: expected 'request', 'headers', 'trailers', { afterRequests: integer }, or { afterResponses: integer }";
const ID = "lastStreamId: expected 'newest', 'none', or an integer from 0 to 2147483647";
const tlsFile = (name: string) =>
  readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));

describe('HTTP/2 fault arguments', () => {
  it.each([
    [{ kind: 'rst', code: 1 }, {}, `kind: expected 'reset', 'missing-trailers', or 'goaway', got "rst"`],
    [{ kind: 'reset', code: -1 }, {}, `${CODE}, got -1`],
    [{ kind: 'reset', code: 2 ** 32 }, {}, `${CODE}, got 4294967296`],
    [{ kind: 'reset', code: 'REFUSED_STREEM' }, {}, `${CODE}, got "REFUSED_STREEM"; write 'REFUSED_STREAM'`],
    [{ kind: 'reset', code: 'toString' }, {}, `${CODE}, got "toString"`],
    [{ kind: 'reset' }, {}, `${CODE}, got nothing`],
    [{ kind: 'reset', code: 1, at: 'header' }, {}, `${POINT}, got "header"`],
    [{ kind: 'reset', code: 1, at: { afterRequests: -1 } }, {}, `${POINT}, got an object with afterRequests`],
    [{ kind: 'reset', code: 1, at: { after: 1 } }, {}, `${POINT}, got an object with after`],
    [{ kind: 'reset', code: 1, direction: 'both' }, {}, `direction: expected 'to-client' or 'to-upstream', got "both"`],
    [{ kind: 'reset', code: 1, att: 'headers' }, {}, "att: unknown key; did you mean 'at'?"],
    [{ kind: 'reset', code: 1, times: 3 }, {}, 'times: unknown key; write it in the second argument, such as'],
    [{ kind: 'goaway', code: NaN }, {}, `${CODE}, got NaN`],
    [{ kind: 'goaway', debugData: 7 }, {}, 'debugData: expected a string of up to 16376 bytes, got 7'],
    [{ kind: 'missing-trailers' }, { method: '' }, `method: expected a method name such as 'Get', got ""`],
    [{ kind: 'missing-trailers' }, { methods: 'Get' }, "methods: unknown key; did you mean 'method'?"],
    [{ kind: 'missing-trailers' }, { times: 0 }, 'times: expected an integer of 1 or more, or Infinity, got 0'],
  ])('rejects failCalls(%j, %j)', (fault, choice, expected) => {
    expect(() => {
      checkCallFault(fault as never, choice as never);
    }).toThrow(`Http2FaultProxy.failCalls.${expected}`);
  });

  it.each([undefined, null, 'reset'])('rejects failCalls(%j)', (fault) => {
    expect(() => {
      checkCallFault(fault as never, {});
    }).toThrow("Http2FaultProxy.failCalls: expected a fault such as { kind: 'reset', code: 'REFUSED_STREAM' }, got ");
  });

  it.each([
    [{ code: 'NONE' }, `${CODE}, got "NONE"`],
    [{ lastStreamId: -7 }, `${ID}, got -7`],
    [{ lastStreamId: 2 ** 31 + 1 }, `${ID}, got 2147483649`],
    [{ lastStreamId: 'last' }, `${ID}, got "last"`],
    [{ lastStream: 5 }, "lastStream: unknown key; did you mean 'lastStreamId'?"],
    [{ debugData: 'x'.repeat(16_377) }, 'debugData: expected a string of up to 16376 bytes, got "xxx'],
  ])('rejects goaway(%j)', (options, expected) => {
    expect(() => {
      checkGoaway(options as never);
    }).toThrow(`Http2FaultProxy.goaway.${expected}`);
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
    const tls = { key: tlsFile('server-key'), cert: tlsFile('server'), ca: tlsFile('ca') };
    checkOptions({ port: 0, tls, upstreamTls: { ...tls, serverName: 'orders' } });
    checkOptions({ upstreamTls: {} });
  });

  it.each([
    ['an invalid certificate', { key: tlsFile('server-key'), cert: 'x' }],
    ['a key that does not match its certificate', { key: tlsFile('client-key'), cert: tlsFile('server') }],
    ['an invalid key', { key: 'x', cert: tlsFile('server') }],
  ])('names the TLS option of Http2FaultProxy that contains %s', (_, tls) => {
    for (const option of ['tls', 'upstreamTls']) {
      expect(() => {
        checkOptions({ [option]: tls });
      }).toThrow(`Http2FaultProxy.${option}: expected key, cert, and ca in PEM format, but TLS rejected them (`);
    }
  });

  it.each([
    [{ upstreamTLS: {} }, "upstreamTLS: unknown key; did you mean 'upstreamTls'?"],
    [{ upstreamTls: { servername: 'orders' } }, "upstreamTls.servername: unknown key; did you mean 'serverName'?"],
    [{ tls: true }, 'tls: expected an object such as { key, cert }, in PEM format, got true'],
    [{ port: -1 }, 'port: expected an integer from 0 to 65535, got -1'],
  ])('rejects the Http2FaultProxy options %j', (options, message) => {
    expect(() => {
      checkOptions(options as never);
    }).toThrow(`Http2FaultProxy.${message}`);
  });
});
