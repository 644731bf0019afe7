import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ROOT } from '../consumers/packed-library.js';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** A registry with the manifests of all installed packages, which suffices for `npm install --package-lock-only`. */
export async function startRegistry() {
  const versions = new Map<string, Map<string, Manifest>>();
  for (const modules of ['node_modules', 'test/nest-11/node_modules'])
    for (const manifest of manifestsIn(join(ROOT, modules))) {
      const known = versions.get(manifest.name) ?? new Map<string, Manifest>();
      versions.set(manifest.name, known.set(manifest.version, manifest));
    }
  const server = createServer(({ url = '' }, response) => {
    const name = decodeURIComponent(url.slice(1));
    const known = [...(versions.get(name) ?? [])].sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    if (known.length === 0) return response.writeHead(404).end('{}');
    const dist = { tarball: `http://registry.invalid/${name}.tgz` };
    const all = Object.fromEntries(
      known.map(([version, manifest]) => [version, { ...manifest, ...peersOf(manifest), dist }]),
    );
    return response.end(JSON.stringify({ name, 'dist-tags': { latest: known.at(-1)![0] }, versions: all }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.close().closeAllConnections();
    },
  };
}

/** Leaves out an optional peer of Nest, which is installed here for Nest 12 only. */
function peersOf({ peerDependencies = {} }: Manifest): Pick<Manifest, 'peerDependencies'> {
  const peers = Object.entries(peerDependencies).filter(([name]) => name !== '@nestjs/websockets');
  return { peerDependencies: Object.fromEntries(peers) };
}

function* manifestsIn(modules: string): Generator<Manifest> {
  for (const name of existsSync(modules) ? readdirSync(modules) : []) {
    const folder = join(modules, name);
    if (name.startsWith('@')) yield* manifestsIn(folder);
    else if (existsSync(join(folder, 'package.json'))) {
      yield JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
      yield* manifestsIn(join(folder, 'node_modules'));
    }
  }
}
