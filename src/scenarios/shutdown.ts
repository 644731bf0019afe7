import { setTimeout as delay } from 'node:timers/promises';
import { GatewayProcess } from '../chaos/gateway-process.js';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import { CONTENDER_NAMES } from '../contenders/contender.js';
import { CountsSince } from '../load/counts-since.js';
import { PATIENCE } from '../patience.js';
import { LogFollower } from '../upstream/log-follower.js';
import { type ShutdownResult, ShutdownRun } from '../load/shutdown-run.js';
import { SHUTDOWN_FIGURES, shutdownReport } from '../report/shutdown-figures.js';
import { outcomeOf, type Scenario, type ScenarioRun } from './scenario.js';

const ORDERS_PER_SECOND = 200;
// Half the drain timeout, so that reads are in flight at the signal and finish within the drain timeout.
const READ_MS = 1_500 * PATIENCE;
const NEVER_MS = 3_600_000;
const READING_MS = 1_000;
/**
 * Time in milliseconds until the last order of the short export is appended. It is shorter than the drain timeout, so that the export can
 * complete.
 */
const SHORT_EXPORT_MS = 2_000;
const LONG_EXPORT_MS = 60_000;
const POLL_MS = 5;

/**
 * A busy gateway has reads in flight (one of which hangs), a feed in the background, a call in backoff, a short export, and a long export.
 * It receives SIGTERM, a second SIGTERM if it is still running after 100 ms, and SIGKILL if it is still running after `--seconds`. Then an
 * idle gateway receives the same signals.
 */
export const shutdown: Scenario = {
  minSeconds: 4,
  defaultSeconds: 8,
  async run(run) {
    const upstream = await UpstreamProcess.start({ server: run.server });
    const gateways: GatewayProcess[] = [];
    const start = async (busy: boolean): Promise<readonly ShutdownRun[]> =>
      Promise.all(
        CONTENDER_NAMES.map(async (contender) => {
          const gateway = await GatewayProcess.start({ contender, url: upstream.url, busy });
          gateways.push(gateway);
          return new ShutdownRun(contender, gateway);
        }),
      );
    try {
      upstream.produce(ORDERS_PER_SECOND);
      const busy = await start(true);
      await occupy(busy, upstream);
      run.report('busy gateways receive SIGTERM twice');
      const ends = await terminate(busy, run);
      run.report('idle gateways receive SIGTERM twice');
      const idleEnds = await terminate(await start(false), run);
      for (const { level, context, message } of gateways.flatMap(({ lines }) => lines))
        run.logger[level === 'warn' ? 'warn' : 'log'](message, context);
      const results = ends.map((end, index): ShutdownResult => ({
        ...end,
        idleExitMs: idleEnds[index]?.exitMs ?? NaN,
      }));
      return outcomeOf(results, {
        figures: SHUTDOWN_FIGURES,
        tunedTitle: '+ forceCloseConnections',
        report: shutdownReport,
      });
    } finally {
      await Promise.all(gateways.map((gateway) => gateway.stop()));
      await upstream.stop();
    }
  },
};

/** Sends requests of all kinds to each gateway. Resolves when all have reached the upstream. */
async function occupy(trials: readonly ShutdownRun[], upstream: UpstreamProcess): Promise<void> {
  const requests = new CountsSince(upstream.countsPaths.map((path) => `${path}.requests`));
  const arrived = async (): Promise<void> => {
    while (trials.some(({ name, requested }) => requests.read()(name) < requested)) await delay(POLL_MS);
  };
  await upstream.workAs({ readMs: NEVER_MS });
  for (const trial of trials) trial.hang();
  await arrived();

  await upstream.workAs({ readMs: READ_MS });
  await Promise.all(trials.map((trial) => trial.read(READING_MS)));
  const log = LogFollower.fromStart(upstream.logPath);
  const length = [...log.read()].length;
  log.close();
  for (const trial of trials) {
    trial.export(length + (ORDERS_PER_SECOND * SHORT_EXPORT_MS) / 1_000);
    trial.export(length + (ORDERS_PER_SECOND * LONG_EXPORT_MS) / 1_000);
  }
  await arrived();
}

function terminate(trials: readonly ShutdownRun[], { seconds }: ScenarioRun) {
  return Promise.all(trials.map((trial) => trial.terminate(seconds * 1_000 * PATIENCE)));
}
