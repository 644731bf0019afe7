/** @typedef {import('./machine.mjs').Machine} Machine */
/** @typedef {import('./rounds.mjs').Result} Result */

/**
 * For programs: medians, and medians of ratios to the baseline.
 *
 * @param {string} bench
 * @param {Machine} machine
 * @param {readonly Result[]} results
 * @returns {string}
 */
export function toJson(bench, machine, results) {
  return JSON.stringify(
    {
      bench,
      machine,
      results: results.map(({ contender, workload, cpuUs, cpuRatio, throughputRatio }) => ({
        contender,
        ...workload.key,
        cpuPerCallUs: rounded(cpuUs, 2),
        cpuRatio: rounded(cpuRatio, 3),
        throughputRatio: rounded(throughputRatio, 3),
      })),
    },
    null,
    2,
  );
}

/**
 * For people: the same with the rates, and how far apart the rounds were.
 *
 * @param {Machine} machine
 * @param {readonly Result[]} results
 * @param {{ readonly rounds: number, readonly seconds: number, readonly baseline: string }} size
 * @returns {string}
 */
export function toTable(machine, results, { rounds, seconds, baseline }) {
  const unit = results[0]?.workload.unit ?? 'call';
  const key = Object.keys(results[0]?.workload.key ?? {})[0] === 'size' ? 'bytes' : 'in flight';
  const head = ['contender', key, `CPU µs/${unit}`, 'CPU ratio', 'quartiles', `${unit}s/s`, 'throughput ratio'];
  const rows = results.map((result) => [
    result.contender,
    Object.values(result.workload.key).join(),
    result.cpuUs.toFixed(1),
    result.cpuRatio.toFixed(2),
    result.cpuRatioQuartiles.map((ratio) => ratio.toFixed(2)).join('–'),
    result.perSecond.toFixed(0),
    result.throughputRatio.toFixed(2),
  ]);
  return [
    ...machineLines(machine),
    `medians of ${String(rounds)} rounds of ${String(seconds)} s; ratios are to ${baseline} in the same round`,
    '',
    ...tableLines(head, rows),
  ].join('\n');
}

/**
 * Where, when and with what the numbers were taken.
 *
 * @param {Machine} machine
 * @returns {string[]}
 */
export function machineLines(machine) {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${machine.date}, Node ${machine.node}, ${machine.os}, ${machine.cpu}, ${String(machine.cores)} cores`,
    versions.join(', '),
  ];
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows The first cell of each is its name.
 * @returns {string[]}
 */
export function tableLines(head, rows) {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  /** @param {readonly string[]} row */
  const line = (row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}

/**
 * @param {number} value
 * @param {number} digits
 * @returns {number}
 */
function rounded(value, digits) {
  return Number(value.toFixed(digits));
}
