import type { Held } from './memory.js';
import type { Tally } from './tally.js';

/** Formats the results of each scenario, and the memory and handles at the start, in the middle, and at the end. */
export function report(tallies: ReadonlyMap<string, Tally>, held: readonly Held[]): string {
  const rows = [...tallies].map(([name, { runs, seconds, calls, failures }]) => [
    name,
    String(runs),
    String(failures.length),
    String(Math.round(seconds)),
    String(calls),
  ]);
  const missed = [...tallies].filter(([, { runs }]) => runs === 0).map(([name]) => name);
  const [start, middle, end] = [held.at(0), held.at(held.length >> 1), held.at(-1)];
  const samples = [
    ['start', start],
    ['middle', middle],
    ['end', end],
  ] as const;
  const memory = samples.map(([when, sample]) => [
    when,
    ...[sample?.rssMb, sample?.heapMb].map((megabytes) => megabytes?.toFixed(1) ?? ''),
    String(sample?.handles ?? ''),
  ]);
  return [
    table(['scenario', 'runs', 'failures', 'seconds', 'calls'], rows),
    table(['sample, after GC', 'RSS, MB', 'heap, MB', 'handles'], memory),
    ...(missed.length > 0 ? [`Not run before the soak ended: ${missed.join(', ')}`] : []),
    ...(leakedHandles(held) > 0 ? [`Leaked handles: ${leakedHandles(held)}`] : []),
    ...[...tallies].flatMap(([name, { failures }]) => failures.map((failure) => `${name}: ${failure}`)),
  ].join('\n\n');
}

/** Number of handles open at the end minus the number at the start; at least 0. A positive number indicates a leak. */
export function leakedHandles(held: readonly Held[]): number {
  return Math.max(0, (held.at(-1)?.handles ?? 0) - (held.at(0)?.handles ?? 0));
}

/** Formats a table; aligns the first column left and the other columns right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return all.map(line).join('\n');
}
