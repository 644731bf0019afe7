import { describe, expect, it } from 'vitest';
import { llmsFiles } from '../../docs/tools/llms-files.mjs';
import { USER_PAGES, pageText } from './markdown.js';

const files = llmsFiles({ name: 'the-library', description: 'What it is' });
const pages = USER_PAGES.map((page) => page.slice('docs/'.length));

describe('llms.txt', () => {
  it('starts llms.txt with the name and the description', () => {
    expect(files['llms.txt']).toMatch(/^# the-library\n\n> What it is\n/);
  });

  it('lists every page once in llms.txt, with a title, and its first sentence if it begins with one', () => {
    const lines = files['llms.txt']!.split('\n').filter((line) => line.startsWith('- '));
    expect([...lines.map((line) => /\]\((\S+)\)/.exec(line)?.[1]), 'index.md'].sort()).toEqual([...pages].sort());
    for (const line of lines) expect(line).toMatch(/^- \[.+\]\(\S+\.md\)(: .+\.)?$/);
  });
});

describe('llms-full.txt', () => {
  it('includes every page for users in full in llms-full.txt', () => {
    const text = files['llms-full.txt']!;
    expect(pages.filter((page) => !text.includes(pageText(`docs/${page}`).trim()))).toEqual([]);
  });
});
