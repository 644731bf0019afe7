import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { agentTable } from './rendered-agents.mjs';
import { connectFailureTable, notRetriedTable } from './rendered-failures.mjs';
import { folderTable } from './rendered-folders.mjs';
import { numberTables } from './rendered-numbers.mjs';
import { optionList, shortOptions } from './rendered-options.mjs';
import { projectTable } from './rendered-projects.mjs';
import { seamTable } from './rendered-seams.mjs';
import { ROOT } from './source-file.mjs';
import { OPTION_GROUPS } from './source-options.mjs';

/** Pages with parts that are rendered from code. */
export const RENDERED_PAGES = [
  'README.md',
  'docs/architecture.md',
  'docs/compatibility.md',
  'docs/errors.md',
  'docs/options.md',
  'docs/call-lifecycle/numbers.md',
  'docs/recipes/example-contract.md',
  'docs/telemetry/agents.md',
];

// <!-- rendered: options MethodOptions --> … <!-- end of rendered -->
const PART = /(<!-- rendered: (\S+)(?: (\S+))? -->\n)[^]*?(<!-- end of rendered -->)/g;

/** Returns the current text of a page, and its text with the parts rendered from code. */
export async function renderedPage(page) {
  const path = join(ROOT, page);
  const text = readFileSync(path, 'utf8');
  const shown = new Set();
  const filled = text.replace(PART, (_all, begin, kind, what, end) => {
    shown.add(what);
    return `${begin}\n${partOf(kind, what)}\n\n${end}`;
  });
  const missing = page === 'docs/options.md' ? OPTION_GROUPS.filter((group) => !shown.has(group)) : [];
  if (missing.length > 0)
    throw new Error(
      `${page}: expected the option groups ${missing.join(', ')}, found none of them; for each, write <!-- rendered: options NAME --> and <!-- end of rendered --> on separate lines`,
    );
  const rendered = await format(filled, { ...(await resolveConfig(path)), filepath: path });
  return { path, text, rendered };
}

function partOf(kind, what) {
  switch (kind) {
    case 'agents':
      return agentTable();
    case 'folders':
      return folderTable();
    case 'options':
      return optionList(what);
    case 'short-options':
      return shortOptions();
    case 'numbers':
      return numberTables();
    case 'projects':
      return projectTable(what);
    case 'connect-failures':
      return connectFailureTable();
    case 'not-retried-reasons':
      return notRetriedTable();
    case 'contract':
      return exampleContract();
    case 'seams':
      return seamTable(what);
    default:
      throw new Error(`unknown part '${kind}'`);
  }
}

/** Returns the contract of the demo and of the programs in the docs, without its opening comment. */
function exampleContract() {
  const proto = readFileSync(join(ROOT, 'protos/orders.proto'), 'utf8');
  return `\`\`\`proto\n// orders.proto\n${proto.replace(/^\/\/[^]*?(?=^package )/m, '').trim()}\n\`\`\``;
}
