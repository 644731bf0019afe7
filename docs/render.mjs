// node docs/render.mjs: writes options and numbers of the library's source into the pages that show them.
import { writeFileSync } from 'node:fs';
import { RENDERED_PAGES, renderedPage } from './tools/rendered-pages.mjs';

for (const page of RENDERED_PAGES) {
  const { path, text, rendered } = await renderedPage(page);
  if (rendered !== text) {
    writeFileSync(path, rendered);
    console.log(`wrote ${page}`);
  }
}
