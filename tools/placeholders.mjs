// node tools/placeholders.mjs: npm runs it before it publishes the library. Fails while a placeholder is left, except in a dry run.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Returns the lines with placeholders in the files that tell users where to turn. */
export const placeholders = () =>
  ['libs/resilient-grpc/package.json', 'SECURITY.md'].flatMap((file) => {
    const text = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
    return [...text.matchAll(/^.*\bplaceholder\.invalid\b.*$/gm)].map(([line]) => `${file}: ${line.trim()}`);
  });

if (process.argv[1] === fileURLToPath(import.meta.url) && process.env['npm_config_dry_run'] !== 'true') {
  const left = placeholders();
  if (left.length > 0) {
    console.error(`Not published: fill these placeholders\n${left.map((line) => `- ${line}`).join('\n')}`);
    process.exitCode = 1;
  }
}
