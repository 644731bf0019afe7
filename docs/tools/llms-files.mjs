import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sidebar } from '../.vitepress/sidebar.mjs';

const DOCS = join(import.meta.dirname, '..');

/** Groups of the sidebar whose pages are for maintainers. */
const FOR_MAINTAINERS = ['Why'];

/**
 * Returns the files of the site for language models, by path: `llms.txt` lists the pages with their first sentences, `llms-full.txt`
 * contains all pages for users, and each page is available as Markdown.
 *
 * @param {{ name: string, description: string }} library
 * @returns {Record<string, string>}
 */
export function llmsFiles({ name, description }) {
  const groups = sidebar().map((group) => ({ text: group.text, pages: pagesOf(group) }));
  const all = groups.flatMap(({ pages }) => pages);
  const forUsers = groups.filter(({ text }) => !FOR_MAINTAINERS.includes(text)).flatMap(({ pages }) => pages);
  const index = groups.map(({ text, pages }) => [`## ${text}`, '', ...pages.map(indexLine), ''].join('\n'));
  return {
    'llms.txt': `# ${name}\n\n> ${description}\n\nAll pages for users in one file: [llms-full.txt](llms-full.txt)\n\n${index.join('\n')}`,
    'llms-full.txt': forUsers.map((page) => `<!-- ${page} -->\n\n${textOf(page).trim()}\n`).join('\n'),
    ...Object.fromEntries(all.map((page) => [page, textOf(page)])),
  };
}

/** Returns the pages of a group as paths in docs/. */
function pagesOf({ link, items = [] }) {
  return [...(link === undefined ? [] : [pageOf(link)]), ...items.flatMap(pagesOf)];
}

function pageOf(link) {
  if (link === '/') return 'index.md';
  return `${link.slice(1)}${link.endsWith('/') ? 'README' : ''}.md`;
}

function indexLine(page) {
  const [, heading, opening] = /^# (.+)\n\n([^]*?)(?:\n\n|$)/m.exec(textOf(page)) ?? [];
  const plain = opening?.replace(/\[([^\]]+)\]\([^)]+\)/g, '$1').replace(/\s+/g, ' ');
  const [sentence = ''] = /^.*?[.:](?= |$)/.exec(plain ?? '') ?? [];
  return `- [${heading}](${page})${sentence === '' ? '' : `: ${sentence.replace(/:$/, '.')}`}`;
}

const textOf = (page) => readFileSync(join(DOCS, page), 'utf8');
