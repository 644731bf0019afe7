import { percent } from '../report.mjs';

/** @typedef {import('./simulate.mjs').EndpointFigures} EndpointFigures */

/** @type {Readonly<Record<string, (figures: EndpointFigures) => string>>} */
export const ENDPOINT_COLUMNS = {
  'failed at once': ({ failedAtOnce }) => percent(failedAtOnce),
  'failed later': ({ failed }) => percent(failed),
  p99: ({ p99 }) => (p99 === 0 ? '-' : `${p99.toFixed(0)} ms`),
  'attempts on faulty endpoints': ({ unhealthyAttempts }) => percent(unhealthyAttempts),
  ejected: ({ ejected }) => percent(ejected),
  'ejected after': ({ ejectedAfter }) => (ejectedAfter === undefined ? '-' : `${ejectedAfter.toFixed(1)} s`),
  'returned after': ({ returned }) =>
    returned === undefined ? '-' : `${returned.map((at) => at.toFixed(0)).join('–')} s`,
  'load after 2 s': ({ shareAfter }) => `${shareAfter.toFixed(2)}x`,
  'peak load': ({ peak }) => `${peak.toFixed(2)}x`,
  'fewest endpoints in use': ({ minInUse }) => String(minInUse),
  'false ejections': ({ falseEjections }) => String(falseEjections),
};

export const ENDPOINT_NOTES = [
  'watched endpoints: the faulty endpoints, or the added one',
  'failed at once: share of failures among the calls that start in the first 2 s of the fault; failed later: the same for the calls that start later in the fault; p99: duration of these later calls',
  'attempts on faulty endpoints: attempts that an endpoint receives during its fault, as a share of all attempts; ejected: share of pairs of a client and a watched endpoint in which the client ejects the endpoint during the fault',
  'ejected after: median time of the first ejections; returned after: 5th to 95th percentile of the times of the first returns; both are measured from the start of the fault',
  'load after 2 s: maximum load on the watched endpoints from 1 to 2 s after the fault; peak load: maximum load on them after both the fault and their first return; both are relative to their fair share',
  'fewest endpoints in use: minimum number of endpoints that any client used; false ejections: ejections of endpoints that are not watched',
];

/** Lists the repeated ejections of a policy, if there are any. */
export function ejectionLines({ policy, figures: { ejections } }) {
  if (ejections.length < 2) return [];
  const list = ejections.map(
    ({ number, count, seconds }) => `${String(count)} at multiplier ${String(number)} (mean ${seconds.toFixed(0)} s)`,
  );
  return [
    `${policy.name}: ejections by the multiplier of their duration (number of the endpoint's ejections, including the new one, minus one for each minute in use), with the mean duration: ${list.join(', ')}`,
  ];
}
