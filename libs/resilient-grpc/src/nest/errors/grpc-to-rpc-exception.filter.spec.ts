import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import type { StatusDetail } from '../../errors/status-details.js';
import { rpcStatusOf } from './grpc-to-rpc-exception.filter.js';

const makeFailure = (change: Partial<GrpcCallFailure> = {}) =>
  new GrpcCallError({
    code: 5,
    details: 'no order',
    metadata: new Metadata(),
    client: 'orders',
    path: '/orders.v1.Orders/Get',
    peer: '10.0.0.7:50051',
    reason: 'server',
    reachedServer: 'yes',
    attempts: [],
    notRetriedBecause: 'fatal-status',
    retryAfterMs: undefined,
    ...change,
  });

const statusOf = (change: Partial<GrpcCallFailure>) =>
  rpcStatusOf(makeFailure(change), new Set(['NOT_FOUND', 'UNAVAILABLE']));

function makeMetadata(details: readonly StatusDetail[]): Metadata {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', statusDetailsBin(5, 'no order', details));
  return metadata;
}

const makeMessage = (text: string): StatusDetail => ({
  typeUrl: 'type.googleapis.com/google.rpc.LocalizedMessage',
  value: { locale: 'en', message: text },
});

/** Creates a quota violation whose value is the largest 64-bit integer, which a number cannot represent. */
const makeQuota = (bytes: Uint8Array): StatusDetail => ({
  typeUrl: 'type.googleapis.com/google.rpc.QuotaFailure',
  value: Uint8Array.of(10, 10, 56, ...bytes, 127),
});

describe('rpcStatusOf', () => {
  it.each([
    ['letters of 1 byte each', 'x', 2_048],
    ['spaces of 3 bytes each', ' ', 682],
    ['Chinese characters of 9 bytes each', '订', 227],
    ['surrogate pairs of 12 bytes each', '🍵', 170],
  ])('truncates relayed status details whose percent-encoding exceeds 2 KiB: %s', (_what, character, maxLength) => {
    expect(statusOf({ details: character.repeat(maxLength) }).details).toBe(character.repeat(maxLength));
    expect(statusOf({ details: character.repeat(maxLength + 1) }).details).toBe(`${character.repeat(maxLength)}...`);
  });

  it.each([
    ['a long message and one detail', '订'.repeat(1_024), [makeMessage('订'.repeat(400))]],
    ['a short message and a detail that just fits', 'x', [makeMessage('x'.repeat(2_900))]],
    ['a truncated message and a detail that just fits', 'x'.repeat(4_000), [makeMessage('x'.repeat(2_900))]],
  ])('keeps a relayed status below 8 KiB of HTTP/2 headers: %s', (_what, details, all) => {
    const { metadata, ...status } = statusOf({ details, metadata: makeMetadata(all), retryAfterMs: 1_000 });
    const headers = Object.entries(metadata.toHttp2Headers()).flatMap(([key, values]) =>
      [values].flat().map((value) => `${key}: ${String(value)}`),
    );
    expect(headers).toHaveLength(1);
    // ':status', 'content-type', 'grpc-status', and similar headers add less than half a KiB.
    expect(`grpc-message: ${encodeURI(status.details)}${headers.join('')}`.length).toBeLessThan(7_680);
  });

  it.each<[what: string, change: Partial<GrpcCallFailure>, isRelayed: boolean, isFault: boolean]>([
    ["relays the server's status if its code is listed", {}, true, false],
    ['does not relay a status that the client produced', { reason: 'deadline', reachedServer: 'maybe' }, false, false],
    ['does not relay a fault, even if its code is listed', { code: 15 }, false, true],
    ['relays a status only if its code is listed', { code: 7 }, false, true],
    ['forwards RESOURCE_EXHAUSTED without its details if the code is not listed', { code: 8 }, false, false],
  ])('%s', (_what, change, isRelayed, isFault) => {
    expect(rpcStatusOf(makeFailure(change), new Set(['NOT_FOUND', 'DATA_LOSS']))).toMatchObject({ isRelayed, isFault });
  });

  it('replaces an unpaired surrogate, which cannot be sent, in a relayed status message', () => {
    expect(statusOf({ details: 'tea \ud83c, please' }).details).toBe('tea \ufffd, please');
  });

  it.each([
    ['a delay that cannot be encoded', makeMetadata([]), 1e300],
    ['a delay and a detail that cannot be encoded', makeMetadata([makeQuota(new Uint8Array(8).fill(255))]), 1e300],
  ])('omits status details that cannot be encoded: %s', (_what, metadata, retryAfterMs) => {
    const status = statusOf({ metadata, retryAfterMs });
    expect(status).toMatchObject({ codeName: 'NOT_FOUND', isRelayed: true, retryAfterMs });
    expect(status.metadata.getMap()).toEqual({});
  });

  it.each([
    ['700', ['700']],
    ['-1', ['-1']],
    ['soon', []],
    ['10ms', []],
    ['99999999999', []],
  ])(
    'forwards the pushback trailer of an upstream only if it is an integer of at most 10 digits: %s',
    (value, expected) => {
      const metadata = new Metadata();
      metadata.set('grpc-retry-pushback-ms', value);
      expect(statusOf({ code: 14, metadata }).metadata.get('grpc-retry-pushback-ms')).toEqual(expected);
    },
  );
});
