import { describe, expect, it } from 'vitest';
import { toMetadata, trailersOf } from './reply.js';

describe('toMetadata', () => {
  it('takes texts, bytes and lists of them', () => {
    const metadata = toMetadata({ one: '1', two: ['a', 'b'], 'raw-bin': Buffer.from('x') });
    expect(metadata.get('one')).toEqual(['1']);
    expect(metadata.get('two')).toEqual(['a', 'b']);
    expect(metadata.get('raw-bin')).toEqual([Buffer.from('x')]);
  });

  it('is empty for nothing', () => {
    expect(toMetadata(undefined).getMap()).toEqual({});
  });
});

describe('trailersOf', () => {
  it.each([
    ['a number', 100, ['100']],
    ['a negative one', -1, ['-1']],
    ['any text', '10ms', ['10ms']],
    ['nothing at all', '', ['']],
    ['several values', [100, '10'], ['100', '10']],
    ['none', undefined, []],
  ])('adds pushback: %s', (_, pushback, values) => {
    const trailers = trailersOf({ pushback, trailers: { other: 'x' } });
    expect(trailers.get('grpc-retry-pushback-ms')).toEqual(values);
    expect(trailers.get('other')).toEqual(['x']);
  });
});
