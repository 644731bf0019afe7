import { asyncScheduler, config, finalize, type Observable, observeOn, of } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { ConcurrencyLimit, limitConcurrency } from './limit-concurrency.js';
import { hedge } from './hedge.js';
import { resumable } from './resumable.js';

const limit = new ConcurrencyLimit({ maxConcurrent: 1 });

it.each<[string, (source: Observable<number>) => Observable<number>]>([
  ['limitConcurrency', (source) => source.pipe(limitConcurrency(limit))],
  ['hedge', (source) => source.pipe(hedge({ maxAttempts: 1, delayMs: 1_000 }))],
  ['resumable', (source) => resumable(() => source, { cursor: (value) => value, seed: 0 })],
])(
  'completes the Observable of %s even if a finalizer of its source throws, and lets RxJS report the error',
  async (_, operator) => {
    const reported = new Promise<unknown>((resolve) => (config.onUnhandledError = resolve));
    onTestFinished(() => void (config.onUnhandledError = null));
    const broken = new Error('finalizer');
    const source = of(1).pipe(
      observeOn(asyncScheduler),
      finalize(() => {
        throw broken;
      }),
    );
    const completed = new Promise<void>((complete) => operator(source).subscribe({ complete }));
    expect(await reported).toMatchObject({ name: 'UnsubscriptionError', errors: [broken] });
    await completed;
    expect(limit.running).toBe(0);
  },
);
