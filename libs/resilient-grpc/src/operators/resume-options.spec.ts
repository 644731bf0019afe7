import { EMPTY, type Observable } from 'rxjs';
import { describe, expectTypeOf, it } from 'vitest';
import type { GrpcObservable } from '../call/grpc-observable.js';
import { resumable } from './resumable.js';

interface Entry {
  readonly id: string;
  readonly sequence: number;
  readonly version: bigint;
}
declare function watch(request: { readonly from: number | string | bigint }): Observable<Entry>;

/** Uses of `resumable` that must not compile. Never called: TypeScript reports each `@ts-expect-error` that has no error. */
export function rejectedByTypes() {
  // @ts-expect-error 64-bit ids in strings require compare
  resumable((from: string) => watch({ from }), { cursor: (entry) => entry.id, seed: '0' });
  // @ts-expect-error a cursor that may be a string requires compare
  resumable((from: string | number) => watch({ from }), { cursor: (entry) => entry.id as string | number, seed: 0 });
  // @ts-expect-error a Long from Nest's default loader requires compare
  resumable((_: { low: number }) => watch({ from: 0 }), { cursor: () => ({ low: 1 }), seed: { low: 0 } });
  // @ts-expect-error the cursor of a message must have the type of the seed
  resumable((from: number) => watch({ from }), { cursor: (entry) => entry.id, seed: 0 });
  // @ts-expect-error the seed is missing
  resumable((from: number) => watch({ from }), { cursor: (entry) => entry.sequence });
  // @ts-expect-error 'again' is not a valid value
  resumable((from: number) => watch({ from }), { cursor: (entry) => entry.sequence, seed: 0, onComplete: 'again' });
  // @ts-expect-error onError must return 'resume', 'complete', 'fail', or undefined
  resumable((from: number) => watch({ from }), { cursor: (entry) => entry.sequence, seed: 0, onError: () => true });
}

/** Uses of `resumable` that must compile. Never called. */
export function acceptedByTypes() {
  const byId = (a: string, b: string): number => Number(BigInt(a) - BigInt(b));
  const maybe = undefined as number | undefined;
  return {
    number: resumable((from) => watch({ from }), { cursor: (entry) => entry.sequence, seed: 0 }),
    bigint: resumable((from) => watch({ from }), { cursor: (entry) => entry.version, seed: 0n }),
    text: resumable((from: string) => watch({ from }), { cursor: (entry) => entry.id, seed: '0', compare: byId }),
    unset: resumable((from: number, attempt) => (attempt > 1 ? EMPTY : watch({ from })), {
      cursor: (entry) => entry.sequence,
      seed: 0,
      compare: undefined,
      heartbeat: undefined,
      onError: (_error, cursor) => (cursor > 5 ? 'complete' : undefined),
      maxAgeMs: maybe,
      minHealthyMs: maybe,
      backoff: { maxBackoffMs: maybe },
    }),
  };
}

describe('types of resumable', () => {
  it('infers the cursor type of resumable from the seed, and the message type from the factory', () => {
    type Accepted = ReturnType<typeof acceptedByTypes>;
    expectTypeOf<Accepted['number']>().toEqualTypeOf<GrpcObservable<Entry>>();
    expectTypeOf<Accepted['bigint']>().toEqualTypeOf<GrpcObservable<Entry>>();
    expectTypeOf<Accepted['text']>().toEqualTypeOf<GrpcObservable<Entry>>();
    expectTypeOf<Accepted['unset']>().toEqualTypeOf<GrpcObservable<Entry>>();
    expectTypeOf(resumable).returns.toExtend<AsyncIterable<unknown>>();
  });
});
