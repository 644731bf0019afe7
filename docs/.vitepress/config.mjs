import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitepress';
import { anchorOf } from './anchor.mjs';
import { repositoryLinks } from './links.mjs';
import { sidebar } from './sidebar.mjs';

const library = join(import.meta.dirname, '../../libs/resilient-grpc/package.json');
const { name, description, repository } = JSON.parse(readFileSync(library, 'utf8'));
/** Where the sources can be read; undefined until the package says so. */
const address = (repository?.url ?? repository)?.replace(/^git\+|\.git$/g, '');

// `vitepress build docs`: links between pages that lead nowhere fail the build.
export default defineConfig({
  title: name,
  description,
  lang: 'en',
  // None: browsers ask for one unless they are told.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, '$1index.md'),
  markdown: {
    languageAlias: { promql: 'sql' },
    anchor: { slugify: anchorOf },
    config: (markdown) => repositoryLinks(markdown, address),
  },
  themeConfig: {
    sidebar: sidebar(),
    outline: 'deep',
    search: {
      provider: 'local',
      options: {
        // Whoever searches for the text of an error wants to know what to do about it.
        miniSearch: { searchOptions: { boostDocument: (page) => (page.startsWith('/problems/') ? 3 : 1) } },
      },
    },
    ...(address === undefined ? {} : { socialLinks: [{ icon: 'github', link: address }] }),
  },
});
