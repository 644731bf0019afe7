// Runs the demo in a terminal: node dist/demo.js [--scenario NAME] [--seconds N] [--json]
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import type { CallRate } from './load/load.js';
import { PATIENCE } from './patience.js';
import { CapturedLogger, formatLogLine } from './report/captured-logger.js';
import { feed } from './scenarios/feed.js';
import { freeze } from './scenarios/freeze.js';
import { overload } from './scenarios/overload.js';
import { restart } from './scenarios/restart.js';
import { rolling } from './scenarios/rolling.js';
import type { Scenario } from './scenarios/scenario.js';

/** Load of each contender: 200 calls per second, divided by {@link PATIENCE}. */
const RATE: CallRate = { reads: 160 / PATIENCE, writes: 40 / PATIENCE };

const SCENARIOS: Readonly<Record<string, Scenario>> = { restart, rolling, freeze, feed, overload };

const USAGE = `Usage: npm run demo -- [--scenario ${Object.keys(SCENARIOS).join('|')}] [--seconds N] [--json]`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: 'restart' },
      seconds: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const name = values.scenario;
  const scenario = SCENARIOS[name];
  if (scenario === undefined) throw new UsageError(`--scenario: expected one of the scenarios below, got '${name}'`);
  const seconds = Number(values.seconds ?? scenario.defaultSeconds);
  if (!(seconds >= scenario.minSeconds)) {
    throw new UsageError(
      `--seconds: expected a number of ${scenario.minSeconds} or more for '${name}', got '${values.seconds ?? ''}'`,
    );
  }

  const logger = new CapturedLogger();
  const lines: string[] = [];
  logger.lines$.subscribe((line) => lines.push(formatLogLine(line)));

  const startedAtMs = performance.now();
  const { reports, table } = await scenario.run({
    seconds,
    rate: RATE,
    logger,
    report: (text) => {
      const elapsed = ((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(5);
      if (!values.json) console.error(`${elapsed} s  ${text}`);
    },
  });
  if (values.json) console.log(JSON.stringify({ scenario: name, seconds, ...reports }));
  else console.log(['', table, '', ...lines].join('\n'));
}

/** An invalid option, printed without a stack trace. */
class UsageError extends Error {}

try {
  await main();
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n${USAGE}` : error);
  process.exitCode = 1;
}
