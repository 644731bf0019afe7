// node docs/render.mjs: writes what the library's source says of options, numbers and folders into the pages that show them.
import { writeFileSync } from 'node:fs';
import { folderPicture, libraryModules } from './tools/folder-picture.mjs';
import { RENDERED_PAGES, renderedPage } from './tools/rendered-pages.mjs';

const pages = await Promise.all(RENDERED_PAGES.map(renderedPage));
const picture = await folderPicture(await libraryModules());
for (const { path, text, rendered } of [...pages, picture]) {
  if (rendered !== text) {
    writeFileSync(path, rendered);
    console.log(`wrote ${path}`);
  }
}
