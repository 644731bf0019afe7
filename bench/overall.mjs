import { cellOf, machineLines, toJson } from './report.mjs';

/** @typedef {import('./report.mjs').Section} Section */
/** @typedef {import('./report.mjs').Row} Row */
/** @typedef {{ readonly command: string, readonly minutes: number }} Run The command line and its duration. */

/** Maximum width of a column head in characters. A longer part of a name is not broken. */
const NAME_WIDTH = 10;

/**
 * A line of the table; a heading has no cells.
 *
 * @typedef {object} Line
 * @property {string} title
 * @property {readonly string[]} cells By contender.
 */

/**
 * Formats all benchmarks as JSON.
 *
 * @param {readonly Section[]} sections At least one.
 * @param {Run} run
 * @returns {object}
 */
export function overallJson(sections, { command, minutes }) {
  return {
    machine: machineOf(sections),
    command,
    minutes: Number(minutes.toFixed(1)),
    benches: sections.map((section) => ({ ...toJson(section), machine: undefined })),
  };
}

/**
 * Formats all benchmarks as one table, with a line per figure and a column per contender.
 *
 * @param {readonly Section[]} sections At least one.
 * @param {Run} run
 * @returns {string}
 */
export function overallTable(sections, { command, minutes }) {
  const contenders = [...new Set(sections.flatMap(({ rows }) => rows.map(({ contender }) => contender)))];
  const names = contenders.map(wrapped);
  const height = Math.max(...names.map((parts) => parts.length));
  const head = Array.from({ length: height }, (_, line) => ({
    title: '',
    cells: names.map((parts) => parts[line - height + parts.length] ?? ''),
  }));
  const body = sections.flatMap((section) => [
    { title: `${section.bench}: ${section.question}`, cells: [] },
    ...figureLines(section, contenders),
  ]);
  const widths = contenders.map((_, column) =>
    Math.max(...[...head, ...body].map(({ cells }) => cells[column]?.length ?? 0)),
  );
  const titleWidth = Math.max(...body.map(({ title, cells }) => (cells.length > 0 ? title.length : 0)));
  /** @param {Line} line */
  const text = ({ title, cells }) =>
    [title.padEnd(titleWidth), ...cells.map((cell, column) => cell.padStart(widths[column] ?? 0))].join('  ').trimEnd();
  return [
    ...machineLines(machineOf(sections)),
    `${command}, which took ${minutes.toFixed(0)} minutes`,
    ...methodsOf(sections),
    '',
    ...head.map(text),
    text({ title: '-'.repeat(titleWidth), cells: widths.map((width) => '-'.repeat(width)) }),
    ...body.map(text),
  ].join('\n');
}

/**
 * @param {readonly Section[]} sections
 * @returns {string[]} Measurement methods; benchmarks that share one are on the same line.
 */
function methodsOf(sections) {
  return [...new Set(sections.map(({ how }) => how))].map((how) => {
    const alike = sections.filter((section) => section.how === how).map(({ bench }) => bench);
    return `${alike.join(', ')}: ${how}`;
  });
}

/**
 * @param {Section} section
 * @param {readonly string[]} contenders
 * @returns {Line[]}
 */
function figureLines({ varied, figures, rows }, contenders) {
  const labels = varied ? [...new Set(rows.map((row) => varied.label(row[varied.name])))] : [''];
  return labels.flatMap((label) => {
    const those = rows.filter((row) => (varied ? varied.label(row[varied.name]) : '') === label);
    return figures
      .filter(({ alone }) => alone !== true)
      .map((figure) => ({
        title: ['', label, figure.title].filter((part, index) => index === 0 || part !== '').join('  '),
        cells: contenders.map((name) =>
          cellOf(
            those.find(({ contender }) => contender === name),
            figure,
          ),
        ),
      }));
  });
}

/**
 * @param {readonly Section[]} sections
 * @returns {import('./machine.mjs').Machine}
 */
function machineOf(sections) {
  const machines = sections.map(({ machine }) => machine);
  const [first] = machines;
  if (first === undefined) throw new Error('expected at least one benchmark');
  return { ...first, versions: Object.assign({}, ...machines.map(({ versions }) => versions)) };
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
