import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogFollower } from './log-follower.js';

describe('LogFollower', () => {
  let folder: string;
  let path: string;
  let follower: LogFollower;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'log-follower-'));
    path = join(folder, 'orders.log');
    appendFileSync(path, '{"key":"before"}\n');
    follower = new LogFollower(path, 'end');
  });
  afterEach(() => {
    follower.close();
    rmSync(folder, { recursive: true });
  });

  const keys = (): string[] => [...follower.read()].map((line) => line.key);

  it('returns each log line exactly once if the line is appended after the creation of the follower', () => {
    appendFileSync(path, '{"key":"a"}\n{"key":"b"}\n');
    expect(keys()).toEqual(['a', 'b']);
    expect(keys()).toEqual([]);
    appendFileSync(path, '{"key":"c"}\n');
    expect(keys()).toEqual(['c']);
  });

  it('returns earlier log lines, too, if the follower reads from the start', () => {
    const reader = new LogFollower(path);
    appendFileSync(path, '{"key":"a"}\n');
    expect([...reader.read()].map((line) => line.key)).toEqual(['before', 'a']);
    reader.close();
  });

  it('waits for the rest of an incomplete log line or character', () => {
    const line = Buffer.from('{"key":"é"}\n');
    appendFileSync(path, Buffer.concat([Buffer.from('{"key":"a"}\n'), line.subarray(0, 9)]));
    expect(keys()).toEqual(['a']);
    appendFileSync(path, line.subarray(9));
    expect(keys()).toEqual(['é']);
  });

  it('skips invalid log lines', () => {
    appendFileSync(path, '{"key":"to\n\n{"key":"a"}\n');
    expect(keys()).toEqual(['a']);
  });

  it('reads more bytes of a log in one call than fit into the read buffer', () => {
    for (let index = 0; index < 3; index++) appendFileSync(path, `{"key":"${'x'.repeat(50_000)}${index}"}\n`);
    expect(keys().map((key) => key.at(-1))).toEqual(['0', '1', '2']);
  });
});
