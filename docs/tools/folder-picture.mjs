import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { instance } from '@viz-js/viz';
import { cruise } from 'dependency-cruiser';
import rules, { FOLDERS } from '../../.dependency-cruiser.mjs';
import { ROOT } from './source.mjs';

const LIBRARY = 'libs/resilient-grpc/src';
const PICTURE = 'docs/internals/architecture.svg';
const ENTRY = '#dbeafe';
const INNER = '#f8fafc';
// Makes the names bold with CSS, because the labels are plain text and cannot contain markup. HTML labels could, but they do not fit into
// their boxes with some fonts; viewers center plain text in any font.
const BOLD_NAMES = '<style>.node text:first-of-type { font-weight: bold }</style>';

/** Returns the files of the library with their imports, as dependency-cruiser reports them. */
export async function libraryModules() {
  const { output } = await cruise([LIBRARY], { ...rules.options, baseDir: ROOT });
  return output.modules;
}

/** Returns the current picture of the library's folders, and the one rendered from the imports of `modules`. */
export async function folderPicture(modules) {
  const path = join(ROOT, PICTURE);
  const viz = await instance();
  const drawn = viz.renderString(graph(withoutDetours(importsOfFolders(modules))), { format: 'svg' });
  const rendered = drawn.replace('<g id="graph0"', `${BOLD_NAMES}\n$&`);
  return { path, text: readFileSync(path, 'utf8'), rendered };
}

/** Returns the imports between folders, without those of specs, which may import anything. */
function importsOfFolders(modules) {
  const imports = new Map(Object.keys(FOLDERS).map((folder) => [folder, new Set()]));
  for (const { source, dependencies } of modules) {
    const from = folderOf(source);
    if (from === undefined || /\.spec\.ts$/.test(source)) continue;
    for (const { resolved } of dependencies) {
      const to = folderOf(resolved);
      if (to !== undefined && to !== from) imports.get(from).add(to);
    }
  }
  return imports;
}

function folderOf(file) {
  return new RegExp(`^${LIBRARY}/(\\w+)/`).exec(file)?.[1];
}

/** Removes the arrows to folders that are also imported indirectly, to keep the picture readable. */
function withoutDetours(imports) {
  const reached = (folder) => new Set([...imports.get(folder)].flatMap((next) => [next, ...reached(next)]));
  return [...imports].flatMap(([from, targets]) => {
    const indirect = new Set([...targets].flatMap((target) => [...reached(target)]));
    return Object.keys(FOLDERS)
      .filter((to) => targets.has(to) && !indirect.has(to))
      .map((to) => ({ tail: from, head: to }));
  });
}

/** Returns the folders that are entry points of the package. */
function entries() {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'libs/resilient-grpc/package.json'), 'utf8'));
  return new Set(Object.keys(exports).map((entry) => entry.slice('./'.length)));
}

function graph(edges) {
  const open = entries();
  const folders = Object.entries(FOLDERS);
  const levels = [...new Set(folders.map(([, { level }]) => level))];
  return {
    graphAttributes: { rankdir: 'TB', nodesep: 0.25, ranksep: 0.45, bgcolor: 'white', pad: 0.12 },
    nodeAttributes: {
      shape: 'box',
      style: 'rounded,filled',
      color: '#64748b',
      width: 2,
      fontname: 'Helvetica,Arial,sans-serif',
      fontsize: 11,
    },
    edgeAttributes: { color: '#64748b', arrowsize: 0.7 },
    nodes: folders.map(([name, { is }]) => ({
      name,
      attributes: {
        label: [`${name}/`, ...lines(is)].join('\n'),
        fillcolor: open.has(name) ? ENTRY : INNER,
      },
    })),
    edges,
    subgraphs: levels.map((level) => ({
      graphAttributes: { rank: 'same' },
      nodes: folders.filter(([, folder]) => folder.level === level).map(([name]) => ({ name })),
    })),
  };
}

/** Splits a text into lines that fit into a box. */
function lines(text) {
  return text.match(/.{1,22}(?:\s|$)/g).map((line) => line.trim());
}
