import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { waitFor } from 'nestjs-resilient-grpc/testing';

/** The load of the machine during one second, measured by a process that only waits for its timers. */
interface Sample {
  /** End of the second, in milliseconds since 1970. */
  readonly at: number;
  /** Longest delay of a timer, in milliseconds. */
  readonly maxTimerDelayMs: number;
  /** CPU time that other programs used, as a percentage of all cores; absent if the system does not report it. */
  readonly othersPercent?: number;
  /** CPU time that the host withheld from this machine, as a percentage of all cores; absent if the system does not report it. */
  readonly stolenPercent?: number;
}

/** The worst value of each figure in a period. */
export type MachineLoad = Omit<Sample, 'at'>;

/** Limits above which a measured duration depends more on the machine than on the library. */
const MAX_TIMER_DELAY_MS = 100;
const MAX_OTHERS_PERCENT = 20;
const MAX_STOLEN_PERCENT = 10;

/** Measures the load of the machine in a separate process. */
export class Sentinel {
  private readonly samples: Sample[] = [];

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (sample) => {
      // The cast is safe because the process sends nothing else.
      this.samples.push(sample as Sample);
    });
  }

  /** Resolves after the first sample, so that the samples cover the second before the first run. */
  static async start(): Promise<Sentinel> {
    const child = fork(new URL('./sentinel-process.mjs', import.meta.url), { execArgv: [] });
    const sentinel = new Sentinel(child);
    await waitFor(() => sentinel.samples.length > 0, { timeoutMs: 60_000 });
    return sentinel;
  }

  /**
   * Returns the worst load in the samples that end after `from - 1_000`, up to the first sample that ends at or after `until`. Both times
   * are in milliseconds since 1970.
   */
  async loadBetween(from: number, until: number): Promise<MachineLoad> {
    // Waits for the sample that covers the end of the period.
    await waitFor(() => (this.samples.at(-1)?.at ?? 0) >= until, { timeoutMs: 60_000 });
    // A sample covers the second before `at`, or more if the sentinel process was stopped. Therefore, the first sample after `until`
    // also counts.
    const last = this.samples.findIndex(({ at }) => at >= until);
    const samples = this.samples.slice(0, last + 1).filter(({ at }) => at > from - 1_000);
    const worst = (figure: keyof MachineLoad) => {
      const values = samples.flatMap((sample) => sample[figure] ?? []);
      return values.length === 0 ? undefined : Math.max(...values);
    };
    const [othersPercent, stolenPercent] = [worst('othersPercent'), worst('stolenPercent')];
    return {
      maxTimerDelayMs: worst('maxTimerDelayMs') ?? 0,
      ...(othersPercent !== undefined && { othersPercent }),
      ...(stolenPercent !== undefined && { stolenPercent }),
    };
  }

  async close(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.disconnect();
    await exited;
  }
}

/** Returns why durations measured under this load cannot be judged; `undefined` if they can. */
export function whyNotJudged({
  maxTimerDelayMs,
  othersPercent = 0,
  stolenPercent = 0,
}: MachineLoad): string | undefined {
  const reasons = [
    ...(othersPercent > MAX_OTHERS_PERCENT ? [`other programs used ${othersPercent.toFixed(0)}% of the CPU`] : []),
    ...(stolenPercent > MAX_STOLEN_PERCENT ? [`the host withheld ${stolenPercent.toFixed(0)}% of the CPU`] : []),
    ...(maxTimerDelayMs > MAX_TIMER_DELAY_MS ? [`timers fired up to ${maxTimerDelayMs.toFixed(0)} ms late`] : []),
  ];
  return reasons.length === 0 ? undefined : reasons.join(', ');
}
