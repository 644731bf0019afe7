import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ROOT } from '../consumers/packed-library.js';

const LIBRARY = 'libs/resilient-grpc/package.json';

/** Quick replacements for the scripts that a release runs. */
const QUICK = { 'pack:check': 'echo packed', 'test:fast': 'echo tested', build: 'echo built' };

// The timeout is long, because npm starts many processes.
vi.setConfig({ testTimeout: 180_000 });

let repository: string;
beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), 'release-'));
  for (const path of ['tools', 'docs', 'README.md', 'CHANGELOG.md', 'SECURITY.md', LIBRARY])
    cpSync(join(ROOT, path), join(repository, path), { recursive: true });
  // Removes packed-dist.mjs from the library's prepack script, because the replacement build produces no files for it.
  const library = readFileSync(join(repository, LIBRARY), 'utf8');
  writeFileSync(join(repository, LIBRARY), library.replace('node ../../tools/packed-dist.mjs && ', ''));
  begin(QUICK);
  return () => rmSync(repository, { recursive: true });
});

/** Writes a root package.json with `scripts` and commits everything; the first call creates the repository. */
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
  it('checks, tests, builds, and publishes the latest version in the changelog as a dry run', () => {
    const { status, printed } = release();
    expect(printed).toMatch(/packed[^]*tested[^]*built[^]*\+ nestjs-resilient-grpc@\d[^]*The dry run passed\. /);
    expect(printed).toMatch(/ with tag latest and public access \(dry-run\)$/m);
    // npm prints this if it has to correct a package.json.
    expect(printed).not.toContain('auto-corrected');
    expect(status).toBe(0);
  });

  it('stops a release at the first step that fails', () => {
    begin({ ...QUICK, 'test:fast': 'exit 1' });
    const { status, printed } = release();
    expect(printed).toMatch(/packed[^]*Not released\.$/m);
    expect(printed).not.toContain('built');
    expect(status).toBe(1);
  });

  it('lists all problems of a release together and runs no step', () => {
    const manifest = readFileSync(join(repository, LIBRARY), 'utf8');
    writeFileSync(join(repository, LIBRARY), manifest.replace(/"version": "[^"]+"/, '"version": "9.9.9"'));
    git('commit', '--quiet', '--all', '--message', 'a version');
    git('tag', 'v9.9.9', 'HEAD~1');
    appendFileSync(join(repository, 'README.md'), 'not committed');
    const { status, printed } = release();
    expect(printed).toMatch(/^- the working tree is not clean; commit or revert:\n *M README\.md$/m);
    expect(printed).toMatch(
      /^- CHANGELOG\.md: expected the newest version to be 9\.9\.9, as in package\.json, with a date, got \S+, \S+; write "## \[9\.9\.9\] - /m,
    );
    expect(printed).toMatch(/^- v9\.9\.9 is the tag of another commit, [0-9a-f]{7}; use the next version$/m);
    expect(printed).not.toContain('packed');
    expect(status).toBe(1);
  });

  it('names the placeholders in a dry run, and publishes nothing while they, the tag, or the date are missing', () => {
    expect(release().printed).toMatch(
      /^Fill these placeholders[^]*package\.json: "url": "git\+https:[^]*SECURITY\.md: /m,
    );
    const { status, printed } = release('--publish');
    expect(printed).toMatch(/^- the tag v\S+ does not exist; run git tag v/m);
    expect(printed).toMatch(/^- CHANGELOG\.md: [^]*got \S+, unreleased;/m);
    for (const field of ['"homepage"', '"url"', '"author"'])
      expect(printed).toMatch(
        new RegExp(`^- fill the placeholder in libs/resilient-grpc/package\\.json: ${field}: `, 'm'),
      );
    expect(printed).toMatch(/^- fill the placeholder in SECURITY\.md: /m);
    expect(printed).not.toContain('packed');
    expect(status).toBe(1);
  });

  it('is not the only way that refuses placeholders: npm publish does, too', () => {
    const folder = join(repository, 'libs/resilient-grpc');
    const published = spawnSync('npm', ['publish', '--offline'], { cwd: folder, encoding: 'utf8' });
    expect(published.stderr).toMatch(/^- SECURITY\.md: Write to security@/m);
    expect(published.status).toBe(1);
  });
});
