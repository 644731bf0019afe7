import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineConfig } from 'vitepress';
import { llmsFiles } from '../tools/llms-files.mjs';
import { anchorOf, repositoryLinks } from './links.mjs';
import { sidebar } from './sidebar.mjs';

const library = join(import.meta.dirname, '../../libs/resilient-grpc/package.json');
const { name, description, repository } = JSON.parse(readFileSync(library, 'utf8'));
/** URL of the source repository; `undefined` if package.json has no `repository`. */
const address = (repository?.url ?? repository)?.replace(/^git\+|\.git$/g, '');

// `vitepress build docs` fails if a link between pages is broken.
export default defineConfig({
  title: name,
  description,
  lang: 'en',
  // An empty icon prevents the request for /favicon.ico.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, '$1index.md'),
  markdown: {
    languageAlias: { promql: 'sql' },
    anchor: { slugify: anchorOf },
    config: (markdown) => repositoryLinks(markdown, address),
  },
  buildEnd: ({ outDir }) => {
    for (const [path, text] of Object.entries(llmsFiles({ name, description }))) {
      mkdirSync(dirname(join(outDir, path)), { recursive: true });
      writeFileSync(join(outDir, path), text);
    }
  },
  themeConfig: {
    sidebar: sidebar(),
    outline: 'deep',
    search: {
      provider: 'local',
      options: {
        miniSearch: { searchOptions: { boostDocument: weightOf } },
      },
    },
    ...(address === undefined ? {} : { socialLinks: [{ icon: 'github', link: address }] }),
  },
});

/** Returns the search weight of a page. Benchmarks rank lower, because their figures match the numbers in an error that a reader pastes. */
function weightOf(page) {
  if (page.startsWith('/performance.html')) return 0.1;
  return page.startsWith('/problems/') ? 3 : 1;
}
