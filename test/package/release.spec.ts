import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ROOT } from '../consumers/packed-library.js';

const LIBRARY = 'libs/resilient-grpc/package.json';

/** What a release runs first, by the names of its scripts. */
const QUICK = { 'pack:check': 'echo packed', 'test:fast': 'echo tested', build: 'echo built' };

// npm starts many processes.
vi.setConfig({ testTimeout: 180_000 });

let repository: string;
beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), 'release-'));
  for (const path of ['tools', 'docs', 'README.md', 'CHANGELOG.md', LIBRARY])
    cpSync(join(ROOT, path), join(repository, path), { recursive: true });
  // Its build says no more than its name: there is nothing to make smaller.
  const library = readFileSync(join(repository, LIBRARY), 'utf8');
  writeFileSync(join(repository, LIBRARY), library.replace('node ../../tools/packed-dist.mjs && ', ''));
  begin(QUICK);
  return () => rmSync(repository, { recursive: true });
});

/** The repository, with `scripts`, as its first commit has it. */
function begin(scripts: Readonly<Record<string, string>>): void {
  writeFileSync(join(repository, 'package.json'), JSON.stringify({ private: true, workspaces: ['libs/*'], scripts }));
  git('init', '--quiet');
  commit();
}

function git(...args: readonly string[]): void {
  const author = ['-c', 'user.name=a', '-c', 'user.email=a@localhost', '-c', 'commit.gpgsign=false'];
  execFileSync('git', [...author, ...args], { cwd: repository, stdio: 'pipe' });
}

function commit(): void {
  git('add', '--all');
  git('commit', '--quiet', '--message', 'all');
}

function release(...args: readonly string[]): { readonly status: number | null; readonly printed: string } {
  const env = { ...process.env, npm_config_offline: 'true', npm_config_loglevel: 'notice' };
  const options = { cwd: repository, env, encoding: 'utf8' as const };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/release.mjs', ...args], options);
  return { status, printed: stdout + stderr };
}

describe('npm run release', () => {
  it('checks, tests, builds, and publishes as a dry run the version that the changelog begins with', () => {
    const { status, printed } = release();
    expect(printed).toMatch(/packed[^]*tested[^]*built[^]*\+ nestjs-resilient-grpc@\d[^]*Ready\. /);
    expect(printed).toMatch(/ with tag latest and public access \(dry-run\)$/m);
    // What npm says where it mends a package.json by itself.
    expect(printed).not.toContain('auto-corrected');
    expect(status).toBe(0);
  });

  it('stops at what fails', () => {
    begin({ ...QUICK, 'test:fast': 'exit 1' });
    const { status, printed } = release();
    expect(printed).toMatch(/packed[^]*Not released\.$/m);
    expect(printed).not.toContain('built');
    expect(status).toBe(1);
  });

  it('says all that stands in the way at once, and begins nothing', () => {
    const manifest = readFileSync(join(repository, LIBRARY), 'utf8');
    writeFileSync(join(repository, LIBRARY), manifest.replace(/"version": "[^"]+"/, '"version": "9.9.9"'));
    git('commit', '--quiet', '--all', '--message', 'a version');
    git('tag', 'v9.9.9', 'HEAD~1');
    appendFileSync(join(repository, 'README.md'), 'not committed');
    const { status, printed } = release();
    expect(printed).toMatch(/^- the tree is not clean; commit or take back:\n *M README\.md$/m);
    expect(printed).toMatch(/^- CHANGELOG\.md begins with \S+, package\.json says 9\.9\.9; write "## \[9\.9\.9\] - /m);
    expect(printed).toMatch(/^- v9\.9\.9 is the tag of another commit, [0-9a-f]{7}; take the next version$/m);
    expect(printed).not.toContain('packed');
    expect(status).toBe(1);
  });

  it('uploads nothing that its pages and its provenance could not lead back to', () => {
    const { status, printed } = release('--publish');
    expect(printed).toMatch(/^- there is no tag of this commit; git tag v/m);
    expect(printed).toMatch(/has no "repository"; provenance is signed for one/);
    expect(printed).not.toContain('packed');
    expect(status).toBe(1);
  });
});
