// node docs/render.mjs: renders the pictures, and the parts of the pages that come from other files: programs of examples/, options,
// figures of results.json. Continues after a page that fails, so that one broken page does not block the others.
import { writeFileSync } from 'node:fs';
import { folderPicture, libraryModules } from './tools/folder-picture.mjs';
import { restartPicture } from './tools/results.mjs';
import { RENDERED_PAGES, renderedPage } from './tools/rendered-pages.mjs';

async function write(name, render) {
  try {
    const { path, text, rendered } = await render();
    if (rendered === text) return;
    writeFileSync(path, rendered);
    console.log(`wrote ${path}`);
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  }
}

for (const page of RENDERED_PAGES) await write(page, () => renderedPage(page));
await write('the picture of the restart', restartPicture);
await write('the picture of the folders', async () => folderPicture(await libraryModules()));
