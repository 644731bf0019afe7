import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENTS, SITUATIONS } from '../../test/consumers/agents/matrix.mjs';
import { ROOT } from './source-file.mjs';

/** Renders the table of situations and monitoring agents, with a note for each difference from plain Nest. */
export function agentTable() {
  const results = JSON.parse(readFileSync(join(ROOT, 'docs/telemetry/agents.json'), 'utf8'));
  const notes = [];
  const cell = (worse) => {
    const numbers = worse.map((text) => {
      // Spans of one kind differ in the same way, whatever their names.
      const note = text.replace(/ '[^']*'(?= of the)/, '');
      if (!notes.includes(note)) notes.push(note);
      return notes.indexOf(note) + 1;
    });
    return worse.length === 0 ? '✓' : `– (${[...new Set(numbers)].join(', ')})`;
  };
  const agents = Object.keys(AGENTS);
  const rows = Object.entries(SITUATIONS).map(([situation, title]) => [
    title,
    ...agents.map((agent) => cell(results[agent][situation])),
  ]);
  const header = ['Situation', ...agents.map((agent) => AGENTS[agent].label)];
  const table = [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  return [table, '', ...notes.map((note, index) => `${index + 1}. ${note}`)].join('\n');
}
