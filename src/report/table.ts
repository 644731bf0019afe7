import type { ContenderName } from '../contenders/contender.js';

const LABEL_WIDTH = 26;
const GAP = 3;

/** A result with the name of its contender. */
export interface Named {
  readonly name: ContenderName;
}

/** A row of the table: its label and its cell for each contender. */
export interface Figure<S extends Named> {
  readonly label: string;
  readonly cell: (result: S) => string;
  /** A remark on the last column, printed at the end of the row. */
  readonly remark?: (result: S) => string;
  /** The row is printed only if this is true for at least one contender. */
  readonly onlyIf?: (result: S) => boolean;
}

/** The rows of a table, and the titles of the plain and the tuned contender. */
export interface TableTerms<S extends Named> {
  readonly figures: readonly Figure<S>[];
  /** @defaultValue 'Nest ClientGrpc' */
  readonly plainTitle?: string;
  readonly tunedTitle: string;
}

/** Formats the figures of all contenders side by side, for a terminal. */
export function table<S extends Named>(
  results: readonly S[],
  { figures, plainTitle = 'Nest ClientGrpc', tunedTitle }: TableTerms<S>,
): string {
  const titlesByName: Readonly<Record<ContenderName, string>> = {
    plain: plainTitle,
    tuned: tunedTitle,
    resilient: 'nestjs-resilient-grpc',
  };
  const titles = results.map((result) => titlesByName[result.name]);
  const lines = [' '.repeat(LABEL_WIDTH) + titles.join(' '.repeat(GAP))];
  for (const { label, cell, remark, onlyIf } of figures) {
    if (onlyIf && !results.some(onlyIf)) continue;
    const cells = results.map((result, index) => center(cell(result), titles[index]?.length ?? 0));
    const line = label.padEnd(LABEL_WIDTH) + cells.join(' '.repeat(GAP));
    const last = results.at(-1);
    const note = last && remark ? remark(last) : '';
    lines.push(line.trimEnd() + (note && `  ${note}`));
  }
  return lines.join('\n');
}

/** Formats a duration for a cell. */
export function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}

function center(text: string, width: number): string {
  return text.padStart(Math.floor((width + text.length) / 2)).padEnd(width);
}
