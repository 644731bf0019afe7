import { describe, expect, it } from 'vitest';
import { llmsFiles } from '../../docs/tools/llms-files.mjs';
import { PAGES, pageText } from './markdown.js';

const files = llmsFiles({ name: 'the-library', description: 'What it is' });
const pages = PAGES.filter((page) => page.startsWith('docs/')).map((page) => page.slice('docs/'.length));

describe('llms.txt', () => {
  it('starts llms.txt with the name and the description', () => {
    expect(files['llms.txt']).toMatch(/^# the-library\n\n> What it is\n/);
  });

  it('lists every page once in llms.txt, with a title and a sentence', () => {
    const lines = files['llms.txt']!.split('\n').filter((line) => line.startsWith('- '));
    expect(lines.map((line) => /\]\((\S+)\)/.exec(line)?.[1]).sort()).toEqual([...pages].sort());
    for (const line of lines) expect(line).toMatch(/^- \[.+\]\(\S+\.md\): .+\.$/);
    expect(lines).toContainEqual(expect.stringMatching(/^- \[.*`ClientsModule`\]\(migration\/clients-module\.md\): /));
  });
});

describe('llms-full.txt', () => {
  it('includes every page for users in full in llms-full.txt, but no page for maintainers', () => {
    const text = files['llms-full.txt']!;
    const contained = pages.filter((page) => text.includes(pageText(`docs/${page}`).trim()));
    const missing = pages.filter((page) => !contained.includes(page));
    expect(contained).toContain('policies.md');
    const isForMaintainers = (page: string): boolean => /^(architecture|fleet|decisions|upstream)\b/.test(page);
    expect(missing).toEqual(pages.filter(isForMaintainers));
    expect(missing).toContain('architecture.md');
  });
});
