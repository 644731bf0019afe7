// node docs/render.mjs: renders the picture of the library's folders, and the parts of the docs pages that come from code, such as options
// and numbers.
import { writeFileSync } from 'node:fs';
import { folderPicture, libraryModules } from './tools/folder-picture.mjs';
import { RENDERED_PAGES, renderedPage } from './tools/rendered-pages.mjs';

const pages = await Promise.all(RENDERED_PAGES.map(renderedPage));
for (const { path, text, rendered } of [...pages, await folderPicture(await libraryModules())]) {
  if (rendered !== text) {
    writeFileSync(path, rendered);
    console.log(`wrote ${path}`);
  }
}
