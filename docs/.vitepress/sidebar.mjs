import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const DOCS = join(import.meta.dirname, '..');

/** The folders of docs/, as groups of the sidebar: title, and the pages that come first. Other pages of the folder follow by name. */
const GROUPS = {
  '.': ['Start', ['start', 'from-clients-module', 'how-it-works']],
  guides: [
    'Guides',
    [
      ...['retries', 'timeouts', 'errors', 'metadata', 'hedging', 'limits', 'streams', 'resume', 'operators'],
      ...['load-balancing', 'unhealthy', 'server', 'server-health', 'overload', 'shutdown'],
    ],
  ],
  test: ['Test', ['testing', 'faults']],
  deploy: ['Deploy', ['kubernetes', 'kubernetes-resolver']],
  operate: ['Operate', ['health', 'telemetry', 'agents', 'logs', 'dashboard', 'doctor', 'runbook']],
  problems: ['Problems', ['index', 'cannot-connect', 'connection-lost', 'deadline-exceeded']],
  recipes: ['Recipes', []],
  reference: ['Reference', ['client-options', 'server-options', 'defaults', 'errors']],
  about: ['About', ['performance', 'compatibility', 'guarantees', 'security']],
};

/** Returns the sidebar of the site: every page once except the home page, with its heading as text. */
export function sidebar() {
  const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && file !== 'index.md' && !file.startsWith('internals/'))
    .sort();
  return Object.entries(GROUPS).map(([folder, [text, first]]) => {
    const own = pages.filter((page) => dirname(page) === folder);
    const placeOf = (page) => (first.indexOf(basename(page, '.md')) + first.length + 1) % (first.length + 1);
    return {
      text,
      items: own.sort((a, b) => placeOf(a) - placeOf(b)).map(itemOf),
      collapsed: ['recipes', 'reference', 'about'].includes(folder),
    };
  });
}

/** Returns the top navigation: the first page of most groups. */
export function navigation() {
  return sidebar()
    .filter(({ text, items }) => !['Test', 'Recipes'].includes(text) && items.length > 0)
    .map(({ text, items: [{ link }] }) => {
      const folder = link.replace(/[^/]*$/, '');
      return { text, link, ...(folder === '/' ? {} : { activeMatch: `^${folder}` }) };
    });
}

function itemOf(page) {
  const heading = /^# (.+)$/m.exec(readFileSync(join(DOCS, page), 'utf8'))?.[1] ?? page;
  return { text: heading.replaceAll('`', ''), link: `/${page.replace(/\.md$/, '').replace(/(^|\/)index$/, '$1')}` };
}
