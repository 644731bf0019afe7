import { overload } from '../../bench/overload/measure.mjs';
import { median } from '../support/call-load.js';
import type { Measured, Run, Situation } from './support/situation.js';

/** Duration of each load in seconds, and the number of runs whose medians are judged. */
const SECONDS = { counts: 2, all: 5 };
const RUNS = { counts: 1, all: 3 };
const DEADLINE_MS = 1_000;
/** A burst of 1.5 s of work within 0.1 s. */
const BURST = { factor: 15, seconds: 0.1, deadlineMs: 10_000 };

/** Only loads of this factor are played if only counts are judged. */
const COUNTED_FACTOR = 3;

/** Loads beyond the capacity of a server, from another process. */
const LOADS = {
  '5 ms of CPU ×3': { work: 'sync:5', factor: 3 },
  '5 ms of CPU ×10': { work: 'sync:5', factor: 10 },
  'pool of 10, limit 16': { work: 'pool:10:50', factor: 10, options: { maxConcurrentCalls: 16 } },
  'pool of 10, adaptive limit': { work: 'pool:10:50', factor: 10, options: { maxConcurrentCalls: 'adaptive' } },
} as const;

/** A server is offered many times what it can serve. */
export const overloadedServer: Situation = {
  name: 'overloaded-server',
  promise:
    'A server that is offered 3 or 10 times its capacity serves most of its capacity in time, refuses the rest at once, and is useful again half a second later. A burst is served completely.',
  bounds: {
    'calls lost': { atMost: 0 },
    'calls unanswered': { atMost: 0 },
    'calls refused': { atLeast: 1 },
    'calls of a burst refused or expired': { atMost: 0 },
    'goodput of the capacity, 5 ms of CPU ×3, %': { atLeast: 85, timed: true },
    'goodput of the capacity, 5 ms of CPU ×10, %': { atLeast: 80, timed: true },
    'goodput of the capacity, pool of 10, limit 16, %': { atLeast: 90, timed: true },
    'goodput of the capacity, pool of 10, adaptive limit, %': { atLeast: 85, timed: true },
    'p99 of served calls after the first second, 5 ms of CPU ×3, ms': { atMost: 200, timed: true },
    'p99 of served calls after the first second, 5 ms of CPU ×10, ms': { atMost: 200, timed: true },
    'handlers run after the deadline, 5 ms of CPU ×3, %': { atMost: 1, timed: true },
    'handlers run after the deadline, 5 ms of CPU ×10, %': { atMost: 1, timed: true },
    'refusal, 5 ms of CPU ×10, ms': { atMost: 20, timed: true },
    'useful again after, 5 ms of CPU ×3, ms': { atMost: 500, timed: true },
    'useful again after, 5 ms of CPU ×10, ms': { atMost: 500, timed: true },
    'p99 of health checks, 5 ms of CPU ×10, ms': { atMost: 50, timed: true },
    'longest gap of a stream, 5 ms of CPU ×10, ms': { atMost: 200, timed: true },
  },
  play,
};

type Figures = Awaited<ReturnType<typeof overload>>;

async function play(run: Run): Promise<Measured> {
  const measured: Record<string, number> = {};
  const sums = { lost: 0, unanswered: 0, refused: Infinity };
  const seconds = SECONDS[run.which];
  // One after the other, because each load needs both cores.
  for (const [name, load] of Object.entries(LOADS)) {
    if (run.which === 'counts' && load.factor !== COUNTED_FACTOR) continue;
    const runs: Figures[] = [];
    while (runs.length < RUNS[run.which]) {
      run.signal.throwIfAborted();
      runs.push(await overload({ server: 'resilient-grpc', seconds, deadlineMs: DEADLINE_MS, ...load }));
    }
    const all = (of: string): number[] => runs.map((figures) => figures[of] ?? NaN);
    const figure = (of: string): number => median(all(of));
    sums.lost += Math.max(...all('lost'));
    sums.unanswered += Math.max(...all('unanswered'));
    sums.refused = Math.min(sums.refused, ...all('refused'));
    measured[`goodput of the capacity, ${name}, %`] = 100 * figure('goodput');
    measured[`p99 of served calls after the first second, ${name}, ms`] = figure('p99Ms');
    measured[`handlers run after the deadline, ${name}, %`] = figure('ranLatePercent');
    measured[`refusal, ${name}, ms`] = figure('refusalMs');
    measured[`useful again after, ${name}, ms`] = figure('goodAgainMs');
    measured[`p99 of health checks, ${name}, ms`] = figure('healthP99Ms');
    measured[`longest gap of a stream, ${name}, ms`] = figure('maxGapMs');
  }
  const burst = await overload({ server: 'resilient-grpc', work: 'sync:5', ...BURST });
  return {
    ...measured,
    'calls lost': sums.lost,
    'calls unanswered': sums.unanswered,
    'calls refused': sums.refused,
    'calls of a burst': burst['offered'] ?? NaN,
    'calls of a burst refused or expired': (burst['offered'] ?? NaN) - (burst['good'] ?? NaN),
  };
}
