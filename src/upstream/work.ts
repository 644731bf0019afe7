/** Timing of the upstream's handlers. */
export interface Work {
  /** Duration of a read, ±10%. */
  readonly readMs: number;
  readonly writeMs: number;
}

export const NORMAL_WORK: Work = { readMs: 5, writeMs: 20 };

/** The current work settings of the upstream. */
export class Workload {
  now = NORMAL_WORK;

  /** Returns the duration of the next read. */
  nextReadMs(): number {
    return this.now.readMs * (0.9 + 0.2 * Math.random());
  }
}
