import { setTimeout as delay } from 'node:timers/promises';
import { GatewayProcess } from '../chaos/gateway-process.js';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import { CONTENDER_NAMES } from '../contenders/contender.js';
import { CountsSince } from '../load/counts-since.js';
import { LogFollower } from '../load/log-follower.js';
import { type ShutdownStanding, ShutdownTrial } from '../load/shutdown-trial.js';
import { SHUTDOWN_FIGURES, shutdownReport } from '../report/shutdown-figures.js';
import { outcomeOf, type Scenario, type ScenarioRun } from './scenario.js';

const ORDERS_PER_SECOND = 200;
const READ_MS = 800;
const NEVER_MS = 3_600_000;
const READING_MS = 1_000;
/** No new requests come for a while before SIGTERM, as when an orchestrator takes a gateway out first: all that are open are being served. */
const NO_NEW_MS = 300;
/** The short export has its last order this long after SIGTERM, inside the drain time; the long one does not. */
const SHORT_EXPORT_MS = 1_500;
const LONG_EXPORT_MS = 60_000;
const POLL_MS = 5;

/**
 * A gateway gets SIGTERM, twice, with reads in flight, one of which hangs, a feed in the background, a call in backoff, an export that
 * will soon be done and one that will not. `--seconds`: what it is given before it is killed. Then the same with nothing to do.
 */
export const shutdown: Scenario = {
  leastSeconds: 5,
  defaultSeconds: 8,
  async play(run) {
    const upstream = await UpstreamProcess.start();
    const gateways: GatewayProcess[] = [];
    const start = async (busy: boolean): Promise<readonly ShutdownTrial[]> =>
      Promise.all(
        CONTENDER_NAMES.map(async (contender) => {
          const gateway = await GatewayProcess.start({ contender, url: upstream.url, busy });
          gateways.push(gateway);
          return new ShutdownTrial(contender, gateway);
        }),
      );
    try {
      upstream.produce(ORDERS_PER_SECOND);
      const busy = await start(true);
      await occupy(busy, upstream);
      run.say('SIGTERM, and once more');
      const ends = await terminate(busy, run);
      run.say('SIGTERM with nothing to do');
      const idleEnds = await terminate(await start(false), run);
      for (const { level, context, message } of gateways.flatMap(({ lines }) => lines))
        run.logger[level === 'warn' ? 'warn' : 'log'](message, context);
      const standings = ends.map((end, index): ShutdownStanding => ({
        ...end,
        idleExitMs: idleEnds[index]?.exitMs ?? NaN,
      }));
      return outcomeOf(standings, {
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

/** Until each gateway has something of everything to do. */
async function occupy(trials: readonly ShutdownTrial[], upstream: UpstreamProcess): Promise<void> {
  upstream.workAs({ readMs: NEVER_MS });
  const requests = new CountsSince(`${upstream.logPath}.requests`);
  for (const trial of trials) trial.hang();
  while (trials.some(({ name }) => requests.read()(name) === 0)) await delay(POLL_MS);

  upstream.workAs({ readMs: READ_MS });
  const log = LogFollower.fromStart(upstream.logPath);
  const length = [...log.read()].length;
  log.close();
  for (const trial of trials) {
    trial.export(length + (ORDERS_PER_SECOND * (READING_MS + NO_NEW_MS + SHORT_EXPORT_MS)) / 1_000);
    trial.export(length + (ORDERS_PER_SECOND * LONG_EXPORT_MS) / 1_000);
  }
  await Promise.all(trials.map((trial) => trial.read(READING_MS)));
  await delay(NO_NEW_MS);
}

function terminate(trials: readonly ShutdownTrial[], { seconds }: ScenarioRun) {
  return Promise.all(trials.map((trial) => trial.terminate(seconds * 1_000)));
}
