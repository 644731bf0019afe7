import type { Bound } from './bound.js';

/** A duration or a rate that a test measured, with the bound that `npm run promises` checks. */
export interface Timing {
  /** Name and unit of the figure: 'time until the process exits, ms'. */
  readonly figure: string;
  readonly value: number;
  readonly bound: Bound;
}

declare module 'vitest' {
  interface TaskMeta {
    timings?: Timing[];
  }
}

/** The part of vitest's `task` that a timing needs. */
interface TimedTask {
  readonly name: string;
  readonly tags?: string[];
  readonly meta: { timings?: Timing[] };
}

/**
 * Records a wall-clock figure of the test `task`. `npm test` does not check it, because a busy machine delays every process.
 * `npm run promises` runs the tests tagged 'timed' one at a time and checks their figures.
 *
 * @throws if the test has no tag 'timed', because `npm run promises` would not run it
 */
export function recordTiming(task: TimedTask, figure: string, value: number, bound: Bound): void {
  if (task.tags?.includes('timed') !== true)
    throw new Error(`'${task.name}' records '${figure}' but is not tagged: write it(title, { tags: ['timed'] }, …)`);
  (task.meta.timings ??= []).push({ figure, value, bound });
}
