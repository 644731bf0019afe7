// node run-programs.mjs PROGRAM...: runs programs from the docs sequentially in one process and prints their names. Each program starts
// when the event loop of the process is empty, so a program that leaks a resource is the last one named. This file is copied to a
// separate application.
import { cpSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const programs = process.argv.slice(2);
let running;

process.on('beforeExit', () => {
  if (running !== undefined) {
    console.error(`${running} waits for a promise that never settles`);
    process.exit(13); // Node's exit code for an unsettled top-level await.
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
  // Each program runs in a copy of its folder, because shared modules open servers when they are loaded.
  const folder = `${dirname(program)}-${basename(program, '.js')}`;
  cpSync(dirname(program), folder, { recursive: true });
  await import(pathToFileURL(join(folder, basename(program))).href);
  running = undefined;
}
