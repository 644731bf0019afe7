import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import type { StatusDetail } from '../../errors/status-details.js';
import { rpcStatusOf } from './rpc-status.js';

const failure = (change: Partial<GrpcCallFailure> = {}) =>
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

const told = (change: Partial<GrpcCallFailure>) => rpcStatusOf(failure(change), new Set(['NOT_FOUND', 'UNAVAILABLE']));

function withDetails(details: readonly StatusDetail[]): Metadata {
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', statusDetailsBin(5, 'no order', details));
  return metadata;
}

const message = (text: string): StatusDetail => ({
  typeUrl: 'type.googleapis.com/google.rpc.LocalizedMessage',
  value: { locale: 'en', message: text },
});

describe('what is relayed of a failed call', () => {
  it.each([
    ['letters', 'x', 2_048],
    ['spaces, which are three bytes', ' ', 682],
    ['Chinese, which is nine', '订', 227],
    ['pairs, which are twelve', '🍵', 170],
  ])('has 2 KiB of text at most, as it is encoded: %s', (_what, character, most) => {
    expect(told({ details: character.repeat(most) }).details).toBe(character.repeat(most));
    expect(told({ details: character.repeat(most + 1) }).details).toBe(`${character.repeat(most)}...`);
  });

  it.each([
    ['one detail', '订'.repeat(1_024), [message('订'.repeat(400))]],
    ['details that just fit', 'x', [message('x'.repeat(2_900))]],
    ['a text that fills its room', 'x'.repeat(4_000), [message('x'.repeat(2_900))]],
  ])('stays below 8 KiB as HTTP/2 sends it: %s', (_what, details, all) => {
    const { metadata, ...status } = told({ details, metadata: withDetails(all), retryAfterMs: 1_000 });
    const headers = Object.entries(metadata.toHttp2Headers()).flatMap(([key, values]) =>
      [values].flat().map((value) => `${key}: ${String(value)}`),
    );
    expect(headers).toHaveLength(1);
    // Beside them ':status', 'content-type', 'grpc-status' and the like, below half a KiB.
    expect(`grpc-message: ${encodeURI(status.details)}${headers.join('')}`.length).toBeLessThan(7_680);
  });

  it.each<[what: string, change: Partial<GrpcCallFailure>, isRelayed: boolean, isFault: boolean]>([
    ['what a server says of a code that is relayed', {}, true, false],
    ['nothing that was found here', { reason: 'deadline', reachedServer: 'maybe' }, false, false],
    ['no fault, though its code is', { code: 15 }, false, true],
    ['no other code', { code: 7 }, false, true],
    ['no text of what is true here too', { code: 8 }, false, false],
  ])('is %s', (_what, change, isRelayed, isFault) => {
    expect(rpcStatusOf(failure(change), new Set(['NOT_FOUND', 'DATA_LOSS']))).toMatchObject({ isRelayed, isFault });
  });

  it('is a text that can be sent: half of a pair is not', () => {
    expect(told({ details: 'tea \ud83c, please' }).details).toBe('tea \ufffd, please');
  });

  it.each([
    ['700', ['700']],
    ['-1', ['-1']],
    ['soon', []],
    ['10ms', []],
    ['99999999999', []],
  ])('has a pushback only where it is a number: %s', (value, expected) => {
    const metadata = new Metadata();
    metadata.set('grpc-retry-pushback-ms', value);
    expect(told({ code: 14, metadata }).metadata.get('grpc-retry-pushback-ms')).toEqual(expected);
  });
});
