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
    appendFileSync(path, '{"id":"before"}\n');
    follower = LogFollower.fromNow(path);
  });
  afterEach(() => {
    follower.close();
    rmSync(folder, { recursive: true });
  });

  const ids = (): string[] => [...follower.read()].map((order) => order.id);

  it('gives each order since it was made once', () => {
    appendFileSync(path, '{"id":"a"}\n{"id":"b"}\n');
    expect(ids()).toEqual(['a', 'b']);
    expect(ids()).toEqual([]);
    appendFileSync(path, '{"id":"c"}\n');
    expect(ids()).toEqual(['c']);
  });

  it('gives those before it was made to who asks for them', () => {
    const reader = LogFollower.fromStart(path);
    appendFileSync(path, '{"id":"a"}\n');
    expect([...reader.read()].map((order) => order.id)).toEqual(['before', 'a']);
    reader.close();
  });

  it('waits for the rest of a line', () => {
    appendFileSync(path, '{"id":"a"}\n{"id"');
    expect(ids()).toEqual(['a']);
    appendFileSync(path, ':"b"}\n');
    expect(ids()).toEqual(['b']);
  });

  it('reads more than fits its buffer at once', () => {
    for (let index = 0; index < 3; index++) appendFileSync(path, `{"id":"${'x'.repeat(50_000)}${index}"}\n`);
    expect(ids().map((id) => id.at(-1))).toEqual(['0', '1', '2']);
  });
});
