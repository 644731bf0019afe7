import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sidebar } from '../.vitepress/sidebar.mjs';

const DOCS = join(import.meta.dirname, '..');

/**
 * Returns the files of the site for language models, by path: `llms.txt` lists the pages with their first sentences, `llms-full.txt`
 * contains all of them, and each page is available as Markdown.
 *
 * @param {{ name: string, description: string }} library
 * @returns {Record<string, string>}
 */
export function llmsFiles({ name, description }) {
  const groups = sidebar().map(({ text, items }) => ({ text, pages: items.map(pageOf) }));
  const pages = ['index.md', ...groups.flatMap((group) => group.pages)];
  const index = groups.map((group) => [`## ${group.text}`, '', ...group.pages.map(indexLine), ''].join('\n'));
  return {
    'llms.txt': `# ${name}\n\n> ${description}\n\nAll pages in one file: [llms-full.txt](llms-full.txt)\n\n${index.join('\n')}`,
    'llms-full.txt': pages.map((page) => `<!-- ${page} -->\n\n${textOf(page).trim()}\n`).join('\n'),
    ...Object.fromEntries(pages.map((page) => [page, textOf(page)])),
  };
}

function pageOf({ link }) {
  return `${link.slice(1)}${link.endsWith('/') ? 'index' : ''}.md`;
}

function indexLine(page) {
  const [, heading, opening] = /^# (.+)\n\n([^]*?)(?:\n\n|$)/m.exec(textOf(page)) ?? [];
  const plain = opening?.replace(/\[([^\]]+)\]\([^)]+\)/g, '$1').replace(/\s+/g, ' ');
  const [sentence = ''] = /^.*?[.:](?= |$)/.exec(plain ?? '') ?? [];
  return `- [${heading}](${page})${sentence === '' ? '' : `: ${sentence.replace(/:$/, '.')}`}`;
}

const textOf = (page) => readFileSync(join(DOCS, page), 'utf8');
