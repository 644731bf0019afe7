/** @typedef {import('./machine.mjs').Machine} Machine */

/**
 * What a benchmark is to find, known before it has begun.
 *
 * @typedef {object} Outline
 * @property {string} bench
 * @property {string} question That it answers.
 * @property {string} how The numbers are taken.
 * @property {Varied} [varied] What is not the same in all rows of a contender.
 * @property {readonly Figure[]} figures
 */

/**
 * What a benchmark found.
 *
 * @typedef {Outline & { readonly machine: Machine, readonly rows: readonly Row[] }} Section
 */

/**
 * A contender's figures at one value of what is varied, by name, as in the JSON.
 *
 * @typedef {{ readonly contender: string } & Readonly<Record<string, Value>>} Row
 * @typedef {string | number | readonly number[] | undefined} Value
 */

/**
 * @typedef {object} Varied
 * @property {string} name In a row.
 * @property {string} title
 * @property {(value: Value) => string} label With its unit.
 */

/**
 * @typedef {object} Figure
 * @property {string} name In a row.
 * @property {string} title
 * @property {number} digits Behind the point, for people.
 * @property {boolean} [alone] Not in the table of all benchmarks.
 */

/** Behind the point, for programs. */
const JSON_DIGITS = 3;

/**
 * For programs.
 *
 * @param {Section} section
 * @returns {object}
 */
export function toJson({ bench, question, how, machine, figures, rows }) {
  const titles = Object.fromEntries(figures.map(({ name, title }) => [name, title]));
  return { bench, question, how, machine, figures: titles, results: rows.map(roundedRow) };
}

/**
 * For people.
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
 * @returns {string} A dash where there is no such figure.
 */
export function cellOf(row, { name, digits }) {
  const value = row?.[name];
  if (value === undefined) return '-';
  if (typeof value === 'string') return value;
  return (
    [value]
      .flat()
      // One that rounds to 0 has no sign: memory that was given back is below 0.
      .map((number) => (Math.abs(number) < 0.5 / 10 ** digits ? 0 : number).toFixed(digits))
      .join('–')
  );
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
