import { overload } from '../../bench/sections/overload.mjs';
import { median } from '../support/call-load.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

/** Duration of a run in seconds, and the number of runs of each load. Counts are judged by the worst run, other figures by the median. */
const SECONDS = { counts: 2, all: 5 };
const RUNS = { counts: 1, all: 5 };
const DEADLINE_MS = 1_000;
/** A burst of 1.5 s of work within 0.1 s. */
const BURST = { factor: 15, seconds: 0.1, deadlineMs: 10_000 };

/**
 * The only load, besides the burst, in a run that judges only counts. It exceeds the capacity even if the capacity was measured too low.
 */
const COUNTED_LOAD = '5 ms of CPU ×10';

/** Loads that exceed the capacity of a server. The calls come from a process other than that of the server. */
const LOADS = {
  '5 ms of CPU ×3': { work: 'sync:5', factor: 3 },
  '5 ms of CPU ×10': { work: 'sync:5', factor: 10 },
  // With handlers shorter than 2 ms, goodput depends mainly on how fast the machine refuses calls.
  '2 ms of CPU ×10': { work: 'sync:2', factor: 10 },
  'pool of 10, limit 16': { work: 'pool:10:50', factor: 10, options: { maxConcurrentCalls: 16 } },
  'pool of 10, adaptive limit': { work: 'pool:10:50', factor: 10, options: { maxConcurrentCalls: 'adaptive' } },
  'wait and CPU, limit 16': { work: 'wait:20:5', factor: 10, options: { maxConcurrentCalls: 16 } },
  'wait and CPU, adaptive limit': { work: 'wait:20:5', factor: 10, options: { maxConcurrentCalls: 'adaptive' } },
} as const;

/** A server receives calls at a multiple of its capacity. */
export const overloadedServer: Scenario = {
  name: 'overloaded-server',
  promise:
    'A server with an offered load of 3 or 10 times its capacity uses most of its capacity for calls that it answers in time, and refuses the other calls at once. It serves every call again within half a second after the overload. A burst is served completely.',
  bounds: {
    'calls failed with UNAVAILABLE or CANCELLED': { atMost: 0 },
    'calls still open after their deadline': { atMost: 0 },
    'calls refused': { atLeast: 1 },
    'calls of a burst refused or expired': { atMost: 0 },
    'goodput relative to capacity, 5 ms of CPU ×3, %': { atLeast: 85, timed: true },
    'goodput relative to capacity, 5 ms of CPU ×10, %': { atLeast: 80, timed: true },
    'goodput relative to capacity, 2 ms of CPU ×10, %': { atLeast: 65, timed: true },
    'goodput relative to capacity, pool of 10, limit 16, %': { atLeast: 90, timed: true },
    'goodput relative to capacity, pool of 10, adaptive limit, %': { atLeast: 85, timed: true },
    'goodput relative to capacity, wait and CPU, limit 16, %': { atLeast: 90, timed: true },
    'goodput relative to capacity, wait and CPU, adaptive limit, %': { atLeast: 85, timed: true },
    'p99 of served calls after the first second, 5 ms of CPU ×3, ms': { atMost: 200, timed: true },
    'p99 of served calls after the first second, 5 ms of CPU ×10, ms': { atMost: 200, timed: true },
    'handlers run after the deadline, 5 ms of CPU ×3, %': { atMost: 1, timed: true },
    'handlers run after the deadline, 5 ms of CPU ×10, %': { atMost: 1, timed: true },
    'median time until a refusal, 5 ms of CPU ×10, ms': { atMost: 20, timed: true },
    'time until the server serves calls again, 5 ms of CPU ×3, ms': { atMost: 500, timed: true },
    'time until the server serves calls again, 5 ms of CPU ×10, ms': { atMost: 500, timed: true },
    'p99 of health checks, 5 ms of CPU ×10, ms': { atMost: 50, timed: true },
    'longest gap between messages of a stream, 5 ms of CPU ×10, ms': { atMost: 200, timed: true },
  },
  measure,
};

type Figures = Awaited<ReturnType<typeof overload>>;

async function measure(run: Run): Promise<Measured> {
  const measured: Record<string, number> = {};
  const counts = { lost: 0, unanswered: 0, refused: Infinity };
  const seconds = SECONDS[run.which];
  // The loads run sequentially, because each load needs both cores.
  for (const [name, load] of Object.entries(LOADS)) {
    if (run.which === 'counts' && name !== COUNTED_LOAD) continue;
    const runs: Figures[] = [];
    while (runs.length < RUNS[run.which]) {
      run.signal.throwIfAborted();
      runs.push(await overload({ server: 'resilient-grpc', seconds, deadlineMs: DEADLINE_MS, ...load }));
    }
    const all = (key: string): number[] => runs.map((figures) => figures[key] ?? NaN);
    const figure = (key: string): number => median(all(key));
    counts.lost += Math.max(...all('lost'));
    counts.unanswered += Math.max(...all('unanswered'));
    counts.refused = Math.min(counts.refused, ...all('refused'));
    measured[`goodput relative to capacity, ${name}, %`] = 100 * figure('goodput');
    measured[`p99 of served calls after the first second, ${name}, ms`] = figure('p99Ms');
    measured[`handlers run after the deadline, ${name}, %`] = figure('ranLatePercent');
    measured[`median time until a refusal, ${name}, ms`] = figure('refusalMs');
    measured[`time until the server serves calls again, ${name}, ms`] = figure('goodAgainMs');
    measured[`p99 of health checks, ${name}, ms`] = figure('healthP99Ms');
    measured[`longest gap between messages of a stream, ${name}, ms`] = figure('maxGapMs');
  }
  const burst = await overload({ server: 'resilient-grpc', work: 'sync:5', ...BURST });
  return {
    ...measured,
    'calls failed with UNAVAILABLE or CANCELLED': counts.lost,
    'calls still open after their deadline': counts.unanswered,
    'calls refused': counts.refused,
    'calls of a burst': burst['offered'] ?? NaN,
    'calls of a burst refused or expired': (burst['offered'] ?? NaN) - (burst['good'] ?? NaN),
  };
}
