import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENTS, SITUATIONS, VARIANTS } from '../../test/consumers/agents/matrix.mjs';
import { ROOT } from './source-file.mjs';

/** Renders the table of monitoring agents and situations, with a note for each kind of difference from plain Nest. */
export function agentTable() {
  const results = JSON.parse(readFileSync(join(ROOT, 'docs/telemetry/agents.json'), 'utf8'));
  const agents = Object.keys(AGENTS).filter((agent) => results[agent] !== undefined);
  const notes = [];
  const numberOf = (note) => {
    if (!notes.includes(note)) notes.push(note);
    return notes.indexOf(note) + 1;
  };
  const cell = (agent, situation) => {
    const found = results[agent].differences.filter((one) => one.situation === situation);
    const describe = (kind) =>
      found.flatMap((one) =>
        one[kind].map((text) => numberOf(`${VARIANTS[one.variant].label}: ${withoutNames(text)}`)),
      );
    const [worse, better] = [describe('worse'), describe('better')];
    const numbers = [...new Set([...worse, ...better])].map((number) => `(${number})`);
    return [worse.length > 0 ? '–' : '✓', ...numbers].join(' ');
  };
  const rows = Object.entries(SITUATIONS).map(([situation, title]) => [
    title,
    ...agents.map((agent) => cell(agent, situation)),
  ]);
  const header = ['Situation', ...agents.map((agent) => AGENTS[agent].label)];
  const table = [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const tested = agents.flatMap((agent) => results[agent].packages).map((name) => `\`${name}\``);
  return [
    table,
    '',
    ...notes.map((note, index) => `${index + 1}. ${note}`),
    '',
    `Tested with ${tested.join(', ')}.`,
  ].join('\n');
}

/** Spans of one kind differ in the same way, whatever their names. */
function withoutNames(text) {
  return text.replace(/ '[^']*'(?= of the)/, '').replaceAll("'", '`');
}
