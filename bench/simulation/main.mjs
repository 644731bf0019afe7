// Simulates how a fleet of clients affects failing servers and itself, for example with `npm run simulate -- outage`. Compares the
// library's policies with three others, in virtual time. The same seed produces the same figures. endpoints/command.mjs runs the scenarios
// with several endpoints.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isEndpointScenario, runEndpoints, ENDPOINT_USAGE } from './endpoints/command.mjs';
import { POLICIES, VARIABLE_CONSTANTS, varied } from './policies.mjs';
import { toJson, toTable } from './report.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { DEFAULT_WORLD, simulate } from './simulate.mjs';

const SERVER_KINDS = /** @type {const} */ (['bounded', 'plain', 'gate']);

const USAGE = `Usage: npm run simulate -- ${Object.keys(SCENARIOS).join('|')} [options]
  --clients N      number of clients (200)
  --rate R         calls per second of each client (10000 / clients)
  --seconds S      simulated time, 60 or more; faults are defined for 600 s and scaled (600)
  --deadline MS    deadline of every call (${String(DEFAULT_WORLD.patienceMs)})
  --handshake C    cost of a connection, as a multiple of a call (${String(DEFAULT_WORLD.handshakeCost)}; TLS: about 20)
  --server KIND    bounded: rejects calls that would wait for more than ${String(DEFAULT_WORLD.queueMs / 1_000)} s; plain: processes all calls, as Nest's server does;
                   gate: has this library's protection against overload (default: bounded)
  --seed N         random seed (${String(DEFAULT_WORLD.seed)})
  --vary C=A,B     simulate only this library, once with each value of constant C, one of ${VARIABLE_CONSTANTS.join(', ')}
  --svg FILE       SVG file for the curves (simulation-SCENARIO.svg; with --json only if given)
  --json           print only one JSON object on one line: npm run --silent simulate -- outage --json

${ENDPOINT_USAGE}`;

if (!(await simulateArguments())) {
  console.error(USAGE);
  process.exitCode = 2;
}

/** Returns false if the arguments are invalid. */
async function simulateArguments() {
  const args = process.argv.slice(2);
  if (isEndpointScenario(args[0])) return runEndpoints(args);
  const plan = parse();
  if (plan === undefined) return false;
  await run(plan);
  return true;
}

/** @param {NonNullable<ReturnType<typeof parse>>} plan */
async function run({
  name,
  scenario,
  clients,
  rate,
  seconds,
  deadline,
  handshake,
  serverKind,
  seed,
  policies,
  svg,
  json,
}) {
  const faults = scenario.faults(seconds);
  const world = {
    ...DEFAULT_WORLD,
    clients,
    callsPerSecond: rate,
    ...scenario.world,
    patienceMs: deadline,
    handshakeCost: handshake,
    serverKind,
    seed,
  };
  const results = policies.map((policy) => simulate(world, policy, faults, seconds));
  if (svg !== undefined) {
    const { plot } = await import('./plot.mjs');
    writeFileSync(svg, plot(results, faults, seconds, `${name}: ${scenario.title}`));
  }
  console.log(json ? toJson(name, clients, results) : toTable(name, scenario.title, world, seconds, results));
  if (svg !== undefined && !json) console.log(`\nCurves: ${svg}`);
}

function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        clients: { type: 'string', default: '200' },
        rate: { type: 'string' },
        seconds: { type: 'string', default: '600' },
        deadline: { type: 'string', default: String(DEFAULT_WORLD.patienceMs) },
        handshake: { type: 'string', default: String(DEFAULT_WORLD.handshakeCost) },
        server: { type: 'string', default: DEFAULT_WORLD.serverKind },
        seed: { type: 'string', default: String(DEFAULT_WORLD.seed) },
        vary: { type: 'string' },
        svg: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const [name = '', ...rest] = positionals;
    const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
    const clients = Number(values.clients);
    const rate = Number(values.rate ?? 10_000 / clients);
    const [seconds, handshake, seed] = [Number(values.seconds), Number(values.handshake), Number(values.seed)];
    const deadline = Number(values.deadline);
    const isFleet = Number.isInteger(clients) && clients > 0 && rate > 0 && deadline > 0;
    const makesSense = isFleet && seconds >= 60 && handshake > 0 && Number.isInteger(seed);
    const policies = policiesOf(values.vary);
    if (scenario === undefined || rest.length > 0 || !makesSense || policies === undefined) return undefined;
    const svg = values.svg ?? (values.json ? undefined : `simulation-${name}.svg`);
    const { json } = values;
    const serverKind = SERVER_KINDS.find((kind) => kind === values.server);
    if (serverKind === undefined) return undefined;
    return { name, scenario, clients, rate, seconds, deadline, handshake, serverKind, seed, policies, svg, json };
  } catch {
    return undefined;
  }
}

/** @param {string | undefined} vary */
function policiesOf(vary) {
  if (vary === undefined) return POLICIES;
  const [path = '', list = ''] = vary.split('=', 2);
  const values = list.split(',').map(Number);
  const makesSense =
    VARIABLE_CONSTANTS.includes(path) && list !== '' && values.every((value) => value >= 0 && value < Infinity);
  return makesSense ? varied(path, values) : undefined;
}
