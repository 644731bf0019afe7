import type { Bound, Length, Measured, Situation } from './situation.js';

type Judged = Pick<Situation, 'bounds' | 'fullBounds'>;

/** Those of a play of `length`. */
function boundsOf({ bounds, fullBounds }: Judged, length: Length): Situation['bounds'] {
  return length === 'full' ? { ...bounds, ...fullBounds } : bounds;
}

/** What of `measured` is not as the situation has it; a figure that was not measured is none either. */
export function judge(situation: Judged, measured: Measured, length: Length): readonly string[] {
  return Object.entries(boundsOf(situation, length)).flatMap(([name, bound]) => {
    const found = Object.entries(measured).filter(([key]) => figureOf(key) === name);
    if (found.length === 0) return [`${name} was not measured`];
    return found
      .filter(([, value]) => !isWithin(value, bound))
      .map(([key, value]) => `${key} is ${value}${text(bound)}`);
  });
}

/** The figures in one line, with their bounds at their first appearance, by upstream. */
export function inOneLine(situation: Judged & Pick<Situation, 'name'>, measured: Measured, length: Length): string {
  const bounds = boundsOf(situation, length);
  const told = new Set<string>();
  const parts = new Map<string, string[]>();
  for (const [key, value] of Object.entries(measured)) {
    const figure = figureOf(key);
    const upstream = key.slice(figure.length).replace(' @', '');
    const bound = told.has(figure) ? undefined : bounds[figure];
    told.add(figure);
    const rounded = typeof value === 'number' ? Math.round(value * 1_000) / 1_000 : value;
    parts.set(upstream, [...(parts.get(upstream) ?? []), `${figure} ${rounded}${text(bound)}`]);
  }
  const sections = [...parts].map(([upstream, figures]) => `${upstream && `[${upstream}] `}${figures.join(', ')}`);
  return `${situation.name}: ${sections.join('; ')}`;
}

const figureOf = (key: string): string => key.split(' @', 1)[0] ?? key;

function isWithin(value: number | string, { atLeast = -Infinity, atMost = Infinity }: Bound): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= atLeast && value <= atMost;
}

function text({ atLeast, atMost }: Bound = {}): string {
  if (atLeast !== undefined && atLeast === atMost) return ` (= ${atLeast})`;
  const limits = [atLeast !== undefined ? `≥ ${atLeast}` : '', atMost !== undefined ? `≤ ${atMost}` : ''];
  const stated = limits.filter(Boolean).join(', ');
  return stated && ` (${stated})`;
}
