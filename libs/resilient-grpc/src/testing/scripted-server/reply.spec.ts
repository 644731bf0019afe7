import { describe, expect, it } from 'vitest';
import { trailersOf } from './reply.js';

describe('trailersOf', () => {
  it('accepts trailers of strings, bytes, and arrays in a scripted reply', () => {
    const metadata = trailersOf({ trailers: { one: '1', two: ['a', 'b'], 'raw-bin': Buffer.from('x') } });
    expect(metadata.get('one')).toEqual(['1']);
    expect(metadata.get('two')).toEqual(['a', 'b']);
    expect(metadata.get('raw-bin')).toEqual([Buffer.from('x')]);
  });

  it('returns empty metadata if the trailers of a scripted reply are undefined', () => {
    expect(trailersOf({ trailers: undefined }).getMap()).toEqual({});
  });

  it.each([
    ['a number', 100, ['100']],
    ['a negative number', -1, ['-1']],
    ['any string', '10ms', ['10ms']],
    ['an empty string', '', ['']],
    ['several values', [100, '10'], ['100', '10']],
    ['no value', undefined, []],
  ])('sets the pushback trailer of a scripted reply to %s', (_, pushback, values) => {
    const trailers = trailersOf({ pushback, trailers: { other: 'x' } });
    expect(trailers.get('grpc-retry-pushback-ms')).toEqual(values);
    expect(trailers.get('other')).toEqual(['x']);
  });
});
