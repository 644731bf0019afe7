// Simulates how a fleet of clients affects failing servers and itself, for example with `npm run simulate -- outage`, or how it uses several
// endpoints, for example with `npm run simulate -- endpoint-fails`. Compares the library's policies with others, in virtual time. The same
// seed produces the same figures.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ENDPOINT_POLICIES } from './endpoints/policies.mjs';
import { ENDPOINT_COLUMNS, ENDPOINT_NOTES, ejectionLines } from './endpoints/report.mjs';
import { ENDPOINT_SCENARIOS } from './endpoints/scenarios.mjs';
import { DEFAULT_ENDPOINT_WORLD, simulateEndpoints } from './endpoints/simulate.mjs';
import { POLICIES, VARIABLE_CONSTANTS, varied } from './policies.mjs';
import { FLEET_COLUMNS, toJson, toTable } from './report.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { DEFAULT_WORLD, simulate } from './simulate.mjs';

/** Default calls per second of all clients together. */
const CALLS_PER_SECOND = 10_000;
const SERVER_KINDS = ['bounded', 'plain', 'gate'];

const USAGE = `Usage: npm run simulate -- ${Object.keys(SCENARIOS).join('|')} [options]
  --clients N      number of clients (200)
  --rate R         calls per second of each client (${String(CALLS_PER_SECOND)} / clients)
  --seconds S      simulated time, 60 or more; faults are defined for 600 s and scaled (600)
  --deadline MS    deadline of every call (${String(DEFAULT_WORLD.patienceMs)})
  --handshake C    cost of a connection, as a multiple of a call (${String(DEFAULT_WORLD.handshakeCost)}; TLS: about 20)
  --server KIND    bounded: rejects calls that would wait for more than ${String(DEFAULT_WORLD.queueMs / 1_000)} s; plain: processes all calls, as Nest's server does;
                   gate: has this library's protection against overload (default: bounded)
  --seed N         random seed (${String(DEFAULT_WORLD.seed)})
  --vary C=A,B     simulate only this library, once with each value of constant C, one of ${VARIABLE_CONSTANTS.join(', ')}
  --svg FILE       SVG file for the curves (simulation-SCENARIO.svg; with --json only if given)
  --json           print only one JSON object on one line: npm run --silent simulate -- outage --json

With several endpoints: npm run simulate -- ${Object.keys(ENDPOINT_SCENARIOS).join('|')} [options]
  --clients N      number of clients (${String(DEFAULT_ENDPOINT_WORLD.clients)}; endpoint-flaps: 20)
  --rate R         calls per second of each client (${String(CALLS_PER_SECOND)} / clients; endpoint-flaps: 100)
  --endpoints N    number of endpoints, 2 or more (${String(DEFAULT_ENDPOINT_WORLD.endpoints)})
  --seconds S      simulated time; faults start at fixed times
  --policy NAME    simulate only this policy, one of: ${ENDPOINT_POLICIES.map(({ name }) => name).join('; ')}
  --seed N, --svg FILE, --json as above`;

const FLEET_FLAGS = ['clients', 'rate', 'seconds', 'deadline', 'handshake', 'server', 'seed', 'vary', 'svg'];
const ENDPOINT_FLAGS = ['clients', 'rate', 'endpoints', 'seconds', 'policy', 'seed', 'svg'];

/** An invalid argument. */
class UsageError extends Error {}

try {
  await run(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError) && !/^ERR_PARSE_ARGS/.test(error.code)) throw error;
  console.error(`${error.message}\n${USAGE}`);
  process.exitCode = 2;
}

/** @param {readonly string[]} argv */
async function run([name = '', ...args]) {
  const isFleet = Object.hasOwn(SCENARIOS, name);
  if (!isFleet && !Object.hasOwn(ENDPOINT_SCENARIOS, name)) throw new UsageError(`expected a scenario, got '${name}'`);
  const flags = (isFleet ? FLEET_FLAGS : ENDPOINT_FLAGS).map((flag) => [flag, { type: 'string' }]);
  const { values } = parseArgs({ args, options: { ...Object.fromEntries(flags), json: { type: 'boolean' } } });
  const plan = isFleet ? fleetPlan(SCENARIOS[name], values) : endpointPlan(ENDPOINT_SCENARIOS[name], values);
  const simulated = { scenario: name, ...plan };
  const svg = values.svg ?? (values.json ? undefined : `simulation-${name}.svg`);
  if (svg !== undefined) {
    const { ENDPOINT_PANELS, FLEET_PANELS, plot } = await import('./plot.mjs');
    writeFileSync(svg, plot(simulated, isFleet ? FLEET_PANELS : ENDPOINT_PANELS));
  }
  console.log(values.json ? toJson(simulated) : toTable(simulated));
  if (svg !== undefined && !values.json) console.log(`\nCurves: ${svg}`);
}

function fleetPlan(scenario, values) {
  const seconds = number(values, 'seconds', 600, { min: 60 });
  const server = values.server ?? DEFAULT_WORLD.serverKind;
  if (!SERVER_KINDS.includes(server))
    throw new UsageError(`--server: expected ${SERVER_KINDS.join(', ')}, got ${server}`);
  const clients = number(values, 'clients', 200, { min: 1 });
  const world = {
    ...DEFAULT_WORLD,
    clients,
    callsPerSecond: number(values, 'rate', CALLS_PER_SECOND / clients),
    ...scenario.world,
    patienceMs: number(values, 'deadline', DEFAULT_WORLD.patienceMs),
    handshakeCost: number(values, 'handshake', DEFAULT_WORLD.handshakeCost),
    serverKind: server,
    seed: number(values, 'seed', DEFAULT_WORLD.seed),
  };
  const faults = scenario.faults(seconds);
  const policies = values.vary === undefined ? POLICIES : variedBy(values.vary);
  const results = policies.map((policy) => simulate(world, policy, faults, seconds));
  const { callsPerSecond, capacity, patienceMs, handshakeCost } = world;
  const about = `${String(clients)} clients at ${String(callsPerSecond)} calls/s each for ${String(seconds)} s; capacity ${String(capacity)}x, deadlines of ${String(patienceMs)} ms, handshake cost of ${String(handshakeCost)} calls`;
  return { title: scenario.title, about: [about], world, seconds, faults, results, columns: FLEET_COLUMNS, notes: [] };
}

function endpointPlan(scenario, values) {
  const usual = { ...DEFAULT_ENDPOINT_WORLD, ...scenario.world };
  const seconds = number(values, 'seconds', scenario.seconds);
  const clients = number(values, 'clients', usual.clients, { min: 1 });
  const world = {
    ...usual,
    clients,
    callsPerSecond: number(values, 'rate', scenario.world?.callsPerSecond ?? CALLS_PER_SECOND / clients),
    endpoints: number(values, 'endpoints', usual.endpoints, { min: 2 }),
    seed: number(values, 'seed', usual.seed),
  };
  const policies = ENDPOINT_POLICIES.filter(({ name }) => values.policy === undefined || name === values.policy);
  if (policies.length === 0) throw new UsageError(`--policy: there is no policy '${values.policy}'`);
  const results = policies.map((policy) => simulateEndpoints(world, policy, scenario, seconds));
  const { callsPerSecond, endpoints, patienceMs, attemptTimeoutMs } = world;
  const about = [
    `${String(clients)} clients at ${String(callsPerSecond)} calls/s each, to ${String(endpoints)} endpoints for ${String(seconds)} s; deadlines of ${String(patienceMs)} ms, attempt timeouts of ${String(attemptTimeoutMs)} ms`,
    `p99 before the fault: ${(results[0]?.figures.p99Before ?? 0).toFixed(0)} ms`,
  ];
  const faults = [{ from: scenario.fault.from * 1_000, to: scenario.fault.to * 1_000 }];
  const notes = [...ENDPOINT_NOTES, '', ...results.flatMap(ejectionLines)];
  return { title: scenario.title, about, world, seconds, faults, results, columns: ENDPOINT_COLUMNS, notes };
}

/** Reads a number above 0. If it has a minimum, it must be an integer. */
function number(values, flag, usual, { min = 0 } = {}) {
  const value = Number(values[flag] ?? usual);
  if (min === 0 ? value > 0 && value < Infinity : value >= min && Number.isInteger(value)) return value;
  throw new UsageError(
    `--${flag}: expected a number${min === 0 ? ' above 0' : ` of ${String(min)} or more`}, got ${values[flag]}`,
  );
}

/** @param {string} text Such as 'release.growth=1.1,1.5'. */
function variedBy(text) {
  const [path = '', list = ''] = text.split('=', 2);
  const values = list.split(',').map(Number);
  if (VARIABLE_CONSTANTS.includes(path) && list !== '' && values.every((value) => value >= 0 && value < Infinity))
    return varied(path, values);
  throw new UsageError(`--vary: expected CONSTANT=A,B, got ${text}`);
}
