// npm run release: checks the repository, runs `pack:check`, `test:fast`, and `build`, and publishes as a dry run.
// `npm run release -- --publish` uploads the package. This command must run in a CI system for which npm supports signed provenance.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { placeholders } from './placeholders.mjs';

const LIBRARY = 'libs/resilient-grpc';
const isDryRun = !process.argv.includes('--publish');

/** @param {string[]} args */
const git = (...args) => execFileSync('git', args, { encoding: 'utf8' }).trim();
/** @param {string[]} args */
const npm = (...args) => {
  console.log(`\n> npm ${args.join(' ')}`);
  execFileSync('npm', args, { stdio: 'inherit' });
};

const problems = problemsOf(JSON.parse(readFileSync(`${LIBRARY}/package.json`, 'utf8')).version);
const left = placeholders();
if (isDryRun && left.length > 0)
  console.log(`Fill these placeholders before you publish:\n${left.map((line) => `- ${line}`).join('\n')}`);
if (!isDryRun) problems.push(...left.map((line) => `fill the placeholder in ${line}`));
if (problems.length > 0) {
  console.error(`Not released:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
  process.exit(1);
}

try {
  npm('run', 'pack:check');
  npm('run', 'test:fast');
  // Removes `dist`, because it may contain output of deleted sources.
  rmSync(`${LIBRARY}/dist`, { recursive: true, force: true });
  npm('run', 'build');
  npm('publish', '--workspace', LIBRARY, '--access', 'public', isDryRun ? '--dry-run' : '--provenance');
} catch {
  // Prints no details, because the failed command has printed its error.
  console.error('\nNot released.');
  process.exit(1);
}
console.log(
  isDryRun ? '\nThe dry run passed. To publish the package, run `npm run release -- --publish`.' : '\nReleased.',
);

/**
 * Returns all problems that prevent a release, each with its remedy.
 *
 * @param {string} version
 */
function problemsOf(version) {
  const problems = [];
  const changed = git('status', '--porcelain');
  if (changed !== '') problems.push(`the working tree is not clean; commit or revert:\n${changed}`);
  const [, newest, date] =
    /^## \[(\d[^\]]*)\] - (unreleased|\d{4}-\d\d-\d\d)$/m.exec(readFileSync('CHANGELOG.md', 'utf8')) ?? [];
  if (newest !== version || (date === 'unreleased' && !isDryRun)) {
    const heading = `## [${version}] - ${new Date().toISOString().slice(0, 10)}`;
    problems.push(
      `CHANGELOG.md: expected the newest version to be ${version}, as in package.json, with a date, got ${newest ?? 'no version'}, ${date}; write "${heading}"`,
    );
  }
  const tag = `v${version}`;
  const tagged = git('tag', '--list', tag) === '' ? undefined : git('rev-parse', `${tag}^{commit}`);
  if (tagged !== undefined && tagged !== git('rev-parse', 'HEAD'))
    problems.push(`${tag} is the tag of another commit, ${tagged.slice(0, 7)}; use the next version`);
  if (isDryRun) return problems;
  // The links in the packed pages point to this tag of the repository.
  if (tagged === undefined) problems.push(`the tag ${tag} does not exist; run git tag ${tag}, and push it`);
  return problems;
}
