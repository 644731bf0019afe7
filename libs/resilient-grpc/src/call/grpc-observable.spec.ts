import { describe, expect, it } from 'vitest';
import { StreamIterator } from './grpc-observable.js';
import type { StreamSink } from './stream-source.js';

/** Creates an iterator over a fake call. The test delivers messages through `sink`; `did` records the method calls on the source. */
function make<T = number>() {
  const did: string[] = [];
  let sink: StreamSink<T> | undefined;
  const iterator = new StreamIterator<T>((created) => {
    sink = created;
    return {
      prefetch: 16,
      begin: () => void did.push('begin'),
      resumeReading: () => void did.push('resume reading'),
      unsubscribe: () => void did.push('unsubscribe'),
    };
  });
  return { did, iterator, sink: () => sink! };
}

describe('StreamIterator', () => {
  it('starts the call of a stream iterator on the first next()', async () => {
    const { did, iterator } = make();
    expect(iterator[Symbol.asyncIterator]()).toBe(iterator);
    expect(did).toEqual([]);
    void iterator.next();
    expect(did).toEqual(['begin']);
  });

  it('never starts the call of a stream iterator if return() precedes the first next()', async () => {
    const { did, iterator } = make();
    expect(await iterator.return()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(did).toEqual([]);
  });

  it('delivers the messages of a stream to waiting next() calls in sequence', async () => {
    const { iterator, sink } = make();
    const results = [iterator.next(), iterator.next()];
    sink().next(1);
    sink().next(2);
    expect(await Promise.all(results)).toEqual([
      { done: false, value: 1 },
      { done: false, value: 2 },
    ]);
  });

  it('buffers 16 messages of a stream and requests more only after a buffered message is read', async () => {
    const { did, iterator, sink } = make();
    const first = iterator.next();
    expect(sink().next(0)).toBe(true);
    const mayContinue = Array.from({ length: 16 }, (_, index) => sink().next(index + 1));
    expect(mayContinue).toEqual([...Array.from({ length: 15 }, () => true), false]);
    await first;
    expect(did).toEqual(['begin']);
    expect(await iterator.next()).toEqual({ done: false, value: 1 });
    expect(did).toEqual(['begin', 'resume reading']);
  });

  it('delivers the buffered messages of a stream before its failure, rejects one next(), and then completes', async () => {
    const { iterator, sink } = make();
    const first = iterator.next();
    const failure = new Error('torn');
    sink().next(1);
    sink().next(2);
    sink().error(failure);
    expect(await first).toMatchObject({ value: 1 });
    expect(await iterator.next()).toMatchObject({ value: 2 });
    await expect(iterator.next()).rejects.toBe(failure);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('rejects the first waiting next() with the failure of the stream and completes the others', async () => {
    const { iterator, sink } = make();
    const results = [iterator.next(), iterator.next(), iterator.next()];
    const failure = new Error('torn');
    sink().error(failure);
    const completed = { status: 'fulfilled', value: { done: true, value: undefined } };
    expect(await Promise.allSettled(results)).toEqual([{ status: 'rejected', reason: failure }, completed, completed]);
  });

  it('completes all waiting next() calls of a stream iterator when the stream completes', async () => {
    const { iterator, sink } = make();
    const results = [iterator.next(), iterator.next(), iterator.next()];
    sink().next(1);
    sink().complete();
    expect(await Promise.all(results)).toEqual([
      { done: false, value: 1 },
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });

  it('cancels the call, drops buffered messages, and completes waiting next() calls on return() of a stream iterator', async () => {
    const { did, iterator, sink } = make();
    const first = iterator.next();
    sink().next(1);
    sink().next(2);
    await first;
    const returned = iterator.return();
    expect(did.at(-1)).toBe('unsubscribe');
    expect(await returned).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });

    const other = make();
    const waiting = other.iterator.next();
    await other.iterator.return();
    expect(await waiting).toEqual({ done: true, value: undefined });
  });

  it('drops an unread failure of a stream on return() of its iterator', async () => {
    const { iterator, sink } = make();
    const first = iterator.next();
    sink().next(1);
    sink().next(2);
    sink().error(new Error('torn'));
    await first;
    expect(await iterator.return()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('delivers an undefined message of a stream like any other', async () => {
    const { did, iterator, sink } = make<number | undefined>();
    const first = iterator.next();
    for (const message of [undefined, undefined, 1]) sink().next(message);
    sink().complete();
    const results = [await first, await iterator.next(), await iterator.next(), await iterator.next()];
    expect(results).toEqual([
      { done: false, value: undefined },
      { done: false, value: undefined },
      { done: false, value: 1 },
      { done: true, value: undefined },
    ]);
    expect(did).toEqual(['begin', 'resume reading', 'resume reading']);
  });

  it('ignores a failure and a message of a stream that arrive after return() of its iterator', async () => {
    const { iterator, sink } = make();
    void iterator.next();
    await iterator.return();
    sink().error(new Error('late'));
    sink().next(5);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});
