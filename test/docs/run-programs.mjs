// node run-programs.mjs PROGRAM...: runs programs of the docs in one process, one after the other, and writes their names. Each begins
// when the one before has ended as a process does: it has nothing to do and nothing open. So one that leaves something open is the
// last that is named. Copied into an application of its own.
import { cpSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const programs = process.argv.slice(2);
let running;

process.on('beforeExit', () => {
  if (running !== undefined) {
    console.error(`${running} waits for what never comes`);
    process.exit(13); // as Node ends a program that does so
  }
  const next = programs.shift();
  if (next !== undefined) void run(next);
});

process.on('exit', (code) => {
  if (code !== 0 || (running === undefined && programs.length === 0)) return;
  console.error(`${running} ended the process`);
  process.exitCode = 1;
});

/** @param {string} program */
async function run(program) {
  running = program;
  console.log(program);
  // Modules that it shares with others, which open servers, are its own in a folder of its own.
  const folder = `${dirname(program)}-${basename(program, '.js')}`;
  cpSync(dirname(program), folder, { recursive: true });
  await import(pathToFileURL(join(folder, basename(program))).href);
  running = undefined;
}
