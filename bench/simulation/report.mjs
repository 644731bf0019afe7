import { tableLines } from '../report.mjs';

/** @typedef {import('./simulate.mjs').Result} Result */

/**
 * Formats the results as JSON.
 *
 * @param {string} scenario
 * @param {number} clients
 * @param {readonly Result[]} results
 */
export function toJson(scenario, clients, results) {
  const policies = results.map(({ policy, figures }) => ({
    name: policy.name,
    amplification: rounded(figures.amplification, 3),
    peakLoadRatio: rounded(figures.peakLoadRatio, 3),
    goodput: rounded(figures.goodput, 4),
    newCallsFailed: rounded(figures.newCallsFailed, 5),
    newCallsFailedConnected: rounded(figures.newCallsFailedConnected, 5),
    recoverySeconds: figures.recoverySeconds,
    lastWaitingSeconds: rounded(figures.lastWaitingSeconds, 2),
  }));
  return JSON.stringify({ scenario, clients, policies });
}

/**
 * Formats the results as a table.
 *
 * @param {string} name
 * @param {string} title
 * @param {import('./fleet.mjs').World} world
 * @param {number} seconds
 * @param {readonly Result[]} results
 */
export function toTable(
  name,
  title,
  { clients, callsPerSecond, capacity, patienceMs, handshakeCost },
  seconds,
  results,
) {
  const head = [
    'policy',
    'amplification',
    'peak load',
    'goodput',
    'new calls failed',
    'new calls of connected clients failed',
    'time to recover',
    'last waiting call',
  ];
  const rows = results.map(({ policy, figures }) => [
    policy.name,
    figures.amplification.toFixed(2),
    `${figures.peakLoadRatio.toFixed(2)}x`,
    percent(figures.goodput),
    percent(figures.newCallsFailed),
    percent(figures.newCallsFailedConnected),
    figures.recoverySeconds === null ? 'never' : `${figures.recoverySeconds.toFixed(1)} s`,
    `${figures.lastWaitingSeconds.toFixed(1)} s`,
  ]);
  return [
    `${name}: ${title}`,
    `${String(clients)} clients at ${String(callsPerSecond)} calls/s each for ${String(seconds)} s; capacity ${String(capacity)}x, deadlines of ${String(patienceMs)} ms, handshake cost of ${String(handshakeCost)} calls`,
    '',
    ...tableLines(head, rows),
    '',
    ...results.map(({ policy }) => `${policy.name}: ${policy.title}`),
  ].join('\n');
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(2)}%`;
}

/**
 * @param {number} value
 * @param {number} digits
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
