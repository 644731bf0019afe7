import { tableLines } from '../../report.mjs';

/** @typedef {import('./simulate.mjs').EndpointFigures} EndpointFigures */
/** @typedef {ReturnType<typeof import('./simulate.mjs').simulateEndpoints>} EndpointResult */

/** @type {readonly { readonly title: string, readonly cell: (figures: EndpointFigures) => string }[]} */
const COLUMNS = [
  { title: 'failed at once', cell: ({ failedAtOnce }) => percent(failedAtOnce) },
  { title: 'failed later', cell: ({ failed }) => percent(failed) },
  { title: 'p99', cell: ({ p99 }) => (p99 === 0 ? '-' : `${p99.toFixed(0)} ms`) },
  { title: 'attempts on faulty endpoints', cell: ({ unhealthyAttempts }) => percent(unhealthyAttempts) },
  { title: 'ejected', cell: ({ ejected }) => percent(ejected) },
  {
    title: 'ejected after',
    cell: ({ ejectedAfter }) => (ejectedAfter === undefined ? '-' : `${ejectedAfter.toFixed(1)} s`),
  },
  {
    title: 'returned after',
    cell: ({ returned }) => (returned === undefined ? '-' : `${returned.map((at) => at.toFixed(0)).join('–')} s`),
  },
  { title: 'load after 2 s', cell: ({ shareAfter }) => `${shareAfter.toFixed(2)}x` },
  { title: 'peak load', cell: ({ peak }) => `${peak.toFixed(2)}x` },
  { title: 'fewest endpoints in use', cell: ({ minInUse }) => String(minInUse) },
  { title: 'false ejections', cell: ({ falseEjections }) => String(falseEjections) },
];

/**
 * Formats the results as JSON.
 *
 * @param {string} scenario
 * @param {import('./fleet.mjs').EndpointWorld} world
 * @param {readonly EndpointResult[]} results
 */
export function toJson(scenario, { clients, callsPerSecond, endpoints }, results) {
  const policies = results.map(({ policy, figures }) => ({ name: policy.name, ...figures }));
  return JSON.stringify({ scenario, clients, callsPerSecond, endpoints, policies }, (_, value) =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value,
  );
}

/**
 * Formats the results as a table.
 *
 * @param {string} name
 * @param {string} title
 * @param {import('./fleet.mjs').EndpointWorld} world
 * @param {number} seconds
 * @param {readonly EndpointResult[]} results
 */
export function toTable(
  name,
  title,
  { clients, callsPerSecond, endpoints, attemptTimeoutMs, patienceMs },
  seconds,
  results,
) {
  const rows = results.map(({ policy, figures }) => [policy.name, ...COLUMNS.map(({ cell }) => cell(figures))]);
  return [
    `${name}: ${title}`,
    `${String(clients)} clients at ${String(callsPerSecond)} calls/s each, to ${String(endpoints)} endpoints for ${String(seconds)} s; deadlines of ${String(patienceMs)} ms, attempt timeouts of ${String(attemptTimeoutMs)} ms`,
    `p99 before the fault: ${(results[0]?.figures.p99Before ?? 0).toFixed(0)} ms`,
    '',
    ...tableLines(['policy', ...COLUMNS.map((column) => column.title)], rows),
    '',
    'watched endpoints: the faulty endpoints, or the added one',
    'failed at once: share of failures among the calls that start in the first 2 s of the fault; failed later: the same for the calls that start later in the fault; p99: duration of these later calls',
    'attempts on faulty endpoints: attempts that an endpoint receives during its fault, as a share of all attempts; ejected: share of pairs of a client and a watched endpoint in which the client ejects the endpoint during the fault',
    'ejected after: median time of the first ejections; returned after: 5th to 95th percentile of the times of the first returns; both are measured from the start of the fault',
    'load after 2 s: maximum load on the watched endpoints from 1 to 2 s after the fault; peak load: maximum load on them after both the fault and their first return; both are relative to their fair share',
    'fewest endpoints in use: minimum number of endpoints that any client used; false ejections: ejections of endpoints that are not watched',
    '',
    ...results.flatMap(({ policy, figures }) => ejectionLine(policy.name, figures)),
    ...results.map(({ policy }) => `${policy.name}: ${policy.title}`),
  ].join('\n');
}

/**
 * @param {string} name
 * @param {EndpointFigures} figures
 */
function ejectionLine(name, { ejections }) {
  if (ejections.length < 2) return [];
  const list = ejections.map(
    ({ number, count, seconds }) => `${String(count)} at multiplier ${String(number)} (mean ${seconds.toFixed(0)} s)`,
  );
  return [
    `${name}: ejections by the multiplier of their duration (number of the endpoint's ejections, including the new one, minus one for each minute in use), with the mean duration: ${list.join(', ')}`,
  ];
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(2)}%`;
}
