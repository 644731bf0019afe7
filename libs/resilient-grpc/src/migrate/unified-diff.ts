/** Number of unchanged lines around a change. */
const CONTEXT = 3;

interface Line {
  readonly sign: ' ' | '-' | '+';
  readonly text: string;
}

/**
 * Returns the differences between two texts that end with a line break, in the format of `diff -u`, which `git apply` accepts. Implemented
 * here, because a package for this format would become a dependency of the library.
 */
export function unifiedDiff(path: string, before: string, after: string): string {
  const lines = linesOf(split(before), split(after));
  const hunks = hunksOf(lines).map(([from, to]) => {
    const count = (sign: Line['sign'], start: number, end: number) =>
      lines.slice(start, end).filter((line) => line.sign !== sign).length;
    const header = `@@ -${count('+', 0, from) + 1},${count('+', from, to)} +${count('-', 0, from) + 1},${count('-', from, to)} @@`;
    return [header, ...lines.slice(from, to).map(({ sign, text }) => sign + text)].join('\n');
  });
  return [`--- a/${path}`, `+++ b/${path}`, ...hunks, ''].join('\n');
}

const split = (text: string) => text.replace(/\n$/, '').split('\n');

/** Returns the first index and the exclusive end of each run of changes with its context. */
function hunksOf(lines: readonly Line[]): readonly (readonly [number, number])[] {
  const hunks: [number, number][] = [];
  for (const [index, { sign }] of lines.entries()) {
    if (sign === ' ') continue;
    const last = hunks.at(-1);
    if (last !== undefined && index - last[1] <= CONTEXT) last[1] = index + 1 + CONTEXT;
    else hunks.push([Math.max(0, index - CONTEXT), index + 1 + CONTEXT]);
  }
  return hunks.map(([from, to]) => [from, Math.min(to, lines.length)]);
}

/** Aligns the lines by their longest common subsequence. */
function linesOf(before: readonly string[], after: readonly string[]): readonly Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head++;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail++;
  const same = (texts: readonly string[]): Line[] => texts.map((text) => ({ sign: ' ', text }));
  return [
    ...same(before.slice(0, head)),
    ...alignedLines(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...same(before.slice(before.length - tail)),
  ];
}

function alignedLines(before: readonly string[], after: readonly string[]): readonly Line[] {
  // common[i][j]: length of the longest common subsequence of before[i…] and after[j…].
  const common = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    const row = common[i];
    for (let j = after.length - 1; row !== undefined && j >= 0; j--)
      row[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    const [old, added] = [before[i], after[j]];
    if (old !== undefined && old === added) {
      lines.push({ sign: ' ', text: old });
      i++;
      j++;
    } else if (old !== undefined && (added === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: '-', text: old });
      i++;
    } else if (added !== undefined) {
      lines.push({ sign: '+', text: added });
      j++;
    }
  }
  return lines;
}
