import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ENDPOINT_POLICIES } from './policies.mjs';
import { toJson, toTable } from './report.mjs';
import { ENDPOINT_SCENARIOS } from './scenarios.mjs';
import { DEFAULT_ENDPOINT_WORLD, simulateEndpoints } from './simulate.mjs';

/** Default calls per second across all clients. */
const CALLS_PER_SECOND = 10_000;

export const ENDPOINT_USAGE = `With several endpoints: npm run simulate -- ${Object.keys(ENDPOINT_SCENARIOS).join('|')} [options]
  --clients N      number of clients (${String(DEFAULT_ENDPOINT_WORLD.clients)}; endpoint-flaps: 20)
  --rate R         calls per second of each client (${String(CALLS_PER_SECOND)} / clients; endpoint-flaps: 100)
  --endpoints N    number of endpoints, 2 or more (${String(DEFAULT_ENDPOINT_WORLD.endpoints)})
  --seconds S      simulated time; faults start at fixed times
  --policy NAME    simulate only this policy, one of: ${ENDPOINT_POLICIES.map(({ name }) => name).join('; ')}
  --seed N, --svg FILE, --json as above`;

/** @param {string | undefined} name */
export function isEndpointScenario(name) {
  return name !== undefined && Object.hasOwn(ENDPOINT_SCENARIOS, name);
}

/**
 * Runs a scenario with several endpoints. Returns false if an argument is invalid.
 *
 * @param {readonly string[]} args
 */
export async function runEndpoints(args) {
  const plan = parse(args);
  if (plan === undefined) return false;
  const { name, scenario, world, seconds, policies, svg, json } = plan;
  const results = policies.map((policy) => simulateEndpoints(world, policy, scenario, seconds));
  if (svg !== undefined) {
    const [{ plot }, { ENDPOINT_PANELS }] = await Promise.all([import('../plot.mjs'), import('./panels.mjs')]);
    const { from, to } = scenario.fault;
    const fault = { from: from * 1_000, to: to * 1_000 };
    writeFileSync(svg, plot(results, [fault], seconds, `${name}: ${scenario.title}`, ENDPOINT_PANELS));
  }
  console.log(json ? toJson(name, world, results) : toTable(name, scenario.title, world, seconds, results));
  if (svg !== undefined && !json) console.log(`\nCurves: ${svg}`);
  return true;
}

/** @param {readonly string[]} args */
function parse(args) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        clients: { type: 'string' },
        rate: { type: 'string' },
        endpoints: { type: 'string' },
        seconds: { type: 'string' },
        policy: { type: 'string' },
        seed: { type: 'string' },
        svg: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    });
    const [name = '', ...rest] = positionals;
    const scenario = ENDPOINT_SCENARIOS[name];
    if (scenario === undefined || rest.length > 0) return undefined;
    const usual = { ...DEFAULT_ENDPOINT_WORLD, ...scenario.world };
    const clients = Number(values.clients ?? usual.clients);
    const callsPerSecond = Number(values.rate ?? scenario.world?.callsPerSecond ?? CALLS_PER_SECOND / clients);
    const endpoints = Number(values.endpoints ?? usual.endpoints);
    const [seconds, seed] = [Number(values.seconds ?? scenario.seconds), Number(values.seed ?? usual.seed)];
    const policies = ENDPOINT_POLICIES.filter((policy) => values.policy === undefined || policy.name === values.policy);
    const isFleet = Number.isInteger(clients) && clients > 0 && callsPerSecond > 0;
    const makesSense = isFleet && Number.isInteger(endpoints) && endpoints > 1 && seconds > 0 && Number.isInteger(seed);
    if (!makesSense || policies.length === 0) return undefined;
    const world = { ...usual, clients, callsPerSecond, endpoints, seed };
    const svg = values.svg ?? (values.json ? undefined : `simulation-${name}.svg`);
    return { name, scenario, world, seconds, policies, svg, json: values.json };
  } catch {
    return undefined;
  }
}
