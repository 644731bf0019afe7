import { tableLines } from '../report.mjs';

/**
 * A scenario that was simulated, with the columns of its table.
 *
 * @typedef {object} Simulated
 * @property {string} scenario
 * @property {string} title
 * @property {readonly string[]} about
 * @property {{ readonly clients: number, readonly callsPerSecond: number, readonly endpoints?: number }} world
 * @property {number} seconds
 * @property {readonly { readonly from: number, readonly to: number }[]} faults
 * @property {readonly { readonly policy: { readonly name: string, readonly title: string }, readonly figures: any, readonly meter: any }[]} results
 * @property {Readonly<Record<string, (figures: any) => string>>} columns
 * @property {readonly string[]} notes
 */

/** The columns of a fleet's table. @type {Readonly<Record<string, (figures: import('./figures.mjs').Figures) => string>>} */
export const FLEET_COLUMNS = {
  amplification: ({ amplification }) => amplification.toFixed(2),
  'peak load': ({ peakLoadRatio }) => `${peakLoadRatio.toFixed(2)}x`,
  goodput: ({ goodput }) => percent(goodput),
  'new calls failed': ({ newCallsFailed }) => percent(newCallsFailed),
  'new calls of connected clients failed': ({ newCallsFailedConnected }) => percent(newCallsFailedConnected),
  'time to recover': ({ recoverySeconds }) => (recoverySeconds === null ? 'never' : `${recoverySeconds.toFixed(1)} s`),
  'last waiting call': ({ lastWaitingSeconds }) => `${lastWaitingSeconds.toFixed(1)} s`,
};

/** @param {Simulated} simulated */
export function toJson({ scenario, world: { clients, callsPerSecond, endpoints }, results }) {
  const policies = results.map(({ policy, figures }) => ({ name: policy.name, ...figures }));
  return JSON.stringify({ scenario, clients, callsPerSecond, endpoints, policies }, (_, value) =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value,
  );
}

/** @param {Simulated} simulated */
export function toTable({ scenario, title, about, columns, results, notes }) {
  const rows = results.map(({ policy, figures }) => [
    policy.name,
    ...Object.values(columns).map((cell) => cell(figures)),
  ]);
  return [
    `${scenario}: ${title}`,
    ...about,
    '',
    ...tableLines([['policy', ...Object.keys(columns)]], rows),
    '',
    ...notes,
    ...results.map(({ policy }) => `${policy.name}: ${policy.title}`),
  ].join('\n');
}

/** @param {number} share */
export function percent(share) {
  return `${(share * 100).toFixed(2)}%`;
}
