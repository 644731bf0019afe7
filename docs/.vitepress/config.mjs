import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { defineConfig } from 'vitepress';
import { addressOf } from '../../tools/packed-pages.mjs';
import { llmsFiles } from '../tools/llms-files.mjs';
import { diagrams } from './diagrams.mjs';
import { anchorOf, repositoryLinks } from './links.mjs';
import { navigation, sidebar } from './sidebar.mjs';

const library = join(import.meta.dirname, '../../libs/resilient-grpc/package.json');
const { name, description, repository } = JSON.parse(readFileSync(library, 'utf8'));
/** URL of the source repository. */
const address = addressOf(repository);

// `vitepress build docs` fails if a link between pages is broken.
export default defineConfig({
  title: name,
  description,
  lang: 'en',
  // An empty icon prevents the request for /favicon.ico.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  // Pages for maintainers.
  srcExclude: ['internals/**'],
  lastUpdated: true,
  markdown: {
    languageAlias: { haproxy: 'nginx', promql: 'sql' },
    anchor: { slugify: anchorOf },
    config: (markdown) => {
      repositoryLinks(markdown, address);
      diagrams(markdown);
    },
  },
  buildEnd: ({ outDir }) => {
    for (const [path, text] of Object.entries(llmsFiles({ name, description }))) {
      mkdirSync(dirname(join(outDir, path)), { recursive: true });
      writeFileSync(join(outDir, path), text);
    }
  },
  themeConfig: {
    nav: navigation(),
    sidebar: sidebar(),
    outline: 'deep',
    ...(address === undefined ? {} : { editLink: { pattern: `${address}/edit/main/docs/:path` } }),
    search: {
      provider: 'local',
      options: {
        miniSearch: { searchOptions: { boostDocument: weightOf } },
      },
    },
    ...(address === undefined ? {} : { socialLinks: [{ icon: 'github', link: address }] }),
  },
});

/** Returns the search weight of a page: problem pages come first, because readers paste the texts of errors. */
function weightOf(page) {
  if (page.startsWith('/about/performance')) return 0.1;
  return page.startsWith('/problems/') ? 3 : 1;
}
