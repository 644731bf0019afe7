/**
 * The description of a benchmark, known before it runs.
 *
 * @typedef {object} Outline
 * @property {string} question The question that the benchmark answers.
 * @property {string} how The method of measurement.
 * @property {Varied} [varied] The parameter that differs among the rows of a contender.
 * @property {readonly Figure[]} figures
 */

/**
 * The results of a benchmark.
 *
 * @typedef {Outline & { readonly bench: string, readonly rows: readonly Row[] }} Section
 */

/**
 * A contender's figures at one value of the varied parameter, by their names in the JSON output.
 *
 * @typedef {{ readonly contender: string } & Readonly<Record<string, string | number | undefined>>} Row
 */

/**
 * @typedef {object} Varied
 * @property {string} name Key in a row.
 * @property {(value: any) => string} label Formats a value with its unit.
 */

/**
 * @typedef {object} Figure
 * @property {string} name Key in a row.
 * @property {string} title
 * @property {number} digits Decimal places in tables.
 */

/**
 * All benchmarks that were run.
 *
 * @typedef {object} Report
 * @property {import('./machine.mjs').Machine} machine
 * @property {string} command The command line.
 * @property {number} minutes
 * @property {readonly Section[]} sections At least one.
 */

/** Maximum width of a column head in characters. A longer part of a name is not broken. */
const NAME_WIDTH = 10;

/**
 * Formats all benchmarks as JSON.
 *
 * @param {Report} report
 * @returns {string}
 */
export function toJson({ machine, command, minutes, sections }) {
  const benches = sections.map(({ bench, question, how, figures, rows }) => {
    const titles = Object.fromEntries(figures.map(({ name, title }) => [name, title]));
    return { bench, question, how, figures: titles, results: rows };
  });
  return JSON.stringify({ machine, command, minutes, benches }, (_, value) =>
    typeof value === 'number' ? Number(value.toFixed(3)) : value,
  );
}

/**
 * Formats all benchmarks as one table, with a line per figure and a column per contender.
 *
 * @param {Report} report
 * @returns {string}
 */
export function toTable({ machine, command, minutes, sections }) {
  const contenders = [...new Set(sections.flatMap(({ rows }) => rows.map(({ contender }) => contender)))];
  const names = contenders.map(wrapped);
  const height = Math.max(...names.map((parts) => parts.length));
  const heads = Array.from({ length: height }, (_, line) => [
    '',
    ...names.map((parts) => parts[line - height + parts.length] ?? ''),
  ]);
  const body = sections.flatMap((section) => [
    [`${section.bench}: ${section.question}`],
    ...figureLines(section, contenders),
  ]);
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${machine.date}, Node ${machine.node}, ${machine.os}, ${machine.cpu}, ${String(machine.cores)} cores`,
    versions.join(', '),
    `${command}, which took ${minutes.toFixed(0)} minutes`,
    ...methodsOf(sections),
    '',
    ...tableLines(heads, body),
  ].join('\n');
}

/** Returns the measurement methods; benchmarks that share one are on the same line. @param {readonly Section[]} sections */
function methodsOf(sections) {
  return [...new Set(sections.map(({ how }) => how))].map((how) => {
    const alike = sections.filter((section) => section.how === how).map(({ bench }) => bench);
    return `${alike.join(', ')}: ${how}`;
  });
}

/**
 * @param {Section} section
 * @param {readonly string[]} contenders
 * @returns {string[][]}
 */
function figureLines({ varied, figures, rows }, contenders) {
  const labelOf = (row) => (varied === undefined ? [] : [varied.label(row[varied.name])]);
  const labels = new Map(rows.map((row) => [labelOf(row).join(), labelOf(row)]));
  return [...labels].flatMap(([label, shown]) =>
    figures.map(({ name, title, digits }) => [
      ['', ...shown, title].join('  '),
      ...contenders.map((contender) => {
        const value = rows.find((row) => row.contender === contender && labelOf(row).join() === label)?.[name];
        if (typeof value !== 'number') return value ?? '-';
        // Avoids '-0.0', for example for a slight decrease in memory.
        return (Math.abs(value) < 0.5 / 10 ** digits ? 0 : value).toFixed(digits);
      }),
    ]),
  );
}

/**
 * Aligns the columns of a table: the first to the left, the others to the right. A row with only one cell is a heading.
 *
 * @param {readonly (readonly string[])[]} heads
 * @param {readonly (readonly string[])[]} rows
 * @returns {string[]}
 */
export function tableLines(heads, rows) {
  const cells = [...heads, ...rows.filter((row) => row.length > 1)];
  const widths = (heads[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)));
  const rule = widths.map((width) => '-'.repeat(width));
  return [...heads, rule, ...rows].map((row) => line(row).join('  ').trimEnd());
}

/**
 * @param {string} name
 * @returns {string[]} Lines, broken after hyphens.
 */
function wrapped(name) {
  /** @type {string[]} */
  const lines = [];
  for (const part of name.split(/(?<=-)/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length <= NAME_WIDTH) lines[lines.length - 1] = last + part;
    else lines.push(part);
  }
  return lines;
}
