/** @typedef {import('./machine.mjs').Machine} Machine */

/**
 * The description of a benchmark, known before it runs.
 *
 * @typedef {object} Outline
 * @property {string} bench
 * @property {string} question The question that the benchmark answers.
 * @property {string} how The method of measurement.
 * @property {Varied} [varied] The parameter that differs among the rows of a contender.
 * @property {readonly Figure[]} figures
 */

/**
 * The results of a benchmark.
 *
 * @typedef {Outline & { readonly machine: Machine, readonly rows: readonly Row[] }} Section
 */

/**
 * A contender's figures at one value of the varied parameter, by their names in the JSON output.
 *
 * @typedef {{ readonly contender: string } & Readonly<Record<string, Value>>} Row
 * @typedef {string | number | readonly number[] | undefined} Value
 */

/**
 * @typedef {object} Varied
 * @property {string} name Key in a row.
 * @property {string} title
 * @property {(value: Value) => string} label Formats a value with its unit.
 */

/**
 * @typedef {object} Figure
 * @property {string} name Key in a row.
 * @property {string} title
 * @property {number} digits Decimal places in tables.
 * @property {boolean} [alone] True to omit the figure from the overall table.
 */

/** Decimal places in JSON. */
const JSON_DIGITS = 3;

/**
 * Formats a section as JSON.
 *
 * @param {Section} section
 * @returns {object}
 */
export function toJson({ bench, question, how, machine, figures, rows }) {
  const titles = Object.fromEntries(figures.map(({ name, title }) => [name, title]));
  return { bench, question, how, machine, figures: titles, results: rows.map(roundedRow) };
}

/**
 * Formats a section as a table.
 *
 * @param {Section} section
 * @returns {string}
 */
export function toTable({ question, how, machine, varied, figures, rows }) {
  const head = ['contender', ...(varied ? [varied.title] : []), ...figures.map(({ title }) => title)];
  const cells = rows.map((row) => [
    row.contender,
    ...(varied ? [varied.label(row[varied.name])] : []),
    ...figures.map((figure) => cellOf(row, figure)),
  ]);
  return [question, ...machineLines(machine), how, '', ...tableLines(head, cells)].join('\n');
}

/**
 * @param {Row | undefined} row
 * @param {Figure} figure
 * @returns {string} The value, or a dash if there is none.
 */
export function cellOf(row, { name, digits }) {
  const value = row?.[name];
  if (value === undefined) return '-';
  if (typeof value === 'string') return value;
  return (
    [value]
      .flat()
      // Avoids '-0.0', for example for a slight decrease in memory.
      .map((number) => (Math.abs(number) < 0.5 / 10 ** digits ? 0 : number).toFixed(digits))
      .join('–')
  );
}

/**
 * Formats the machine, time, and versions.
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
 * @param {readonly (readonly string[])[]} rows The first cell of each row is the name of the row.
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

/** @param {Row} row */
function roundedRow(row) {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, rounded(value)]));
}

/**
 * @param {Value} value
 * @returns {Value}
 */
function rounded(value) {
  if (typeof value === 'number') return Number(value.toFixed(JSON_DIGITS));
  return typeof value === 'object' ? value.map((number) => Number(number.toFixed(JSON_DIGITS))) : value;
}
