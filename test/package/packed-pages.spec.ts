import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packedPages } from '../../tools/packed-pages.mjs';
import { ROOT } from '../consumers/packed-library.js';

const repository = { url: 'git+https://git.example/orders/grpc.git' };
const pages = packedPages({ version: '1.2.3', repository });
const targets = Object.values(pages).flatMap((text) =>
  [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!),
);

it('links the packed README to existing files at the version tag of the repository if package.json names the repository', () => {
  const relative = targets.filter((target) => !/^(https:\/\/|#)/.test(target));
  expect(relative).toEqual([]);
  const files = targets.flatMap(
    (target) => /^https:\/\/git\.example\/orders\/grpc\/(?:blob|raw)\/v1\.2\.3\/([^#]+)/.exec(target)?.[1] ?? [],
  );
  expect(files).toEqual(expect.arrayContaining(['docs/reference/client-options.md', 'docs/restart.svg']));
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

it('points the image links of the README to raw files, and its other links to file views of the repository', () => {
  expect(pages['README.md']).toContain('](https://git.example/orders/grpc/raw/v1.2.3/docs/restart.svg)');
  expect(pages['README.md']).toContain('](https://git.example/orders/grpc/blob/v1.2.3/docs/');
});

it('packs no HTML comments', () => {
  expect(pages['README.md']).not.toContain('<!--');
});

it('keeps the link to the README image, which the package contains, and no code block changes, if no repository is known', () => {
  const { 'README.md': readme } = packedPages({
    version: '1.2.3',
    repository: { url: 'https://placeholder.invalid/a' },
  });
  expect(readme).toMatch(/!\[[^\]]+\]\(docs\/restart\.svg\)/);
  expect(readme).toContain("forFeature([{ name: 'orders', transport: Transport.GRPC, options }])");
});
