import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LogLine } from './log-line.js';

const line = new LogLine('warn', 'outage: gone', { client: 'orders', event: 'outage', waiting: 3, peer: undefined });

describe('a line', () => {
  it('is its text to people', () => {
    expect(String(line)).toBe('outage: gone');
    expect(inspect(line)).toBe('outage: gone');
    expect(inspect(line, { colors: true })).toBe('\u001b[33moutage: gone\u001b[39m');
    expect(line.message).toBe('outage: gone');
  });

  it('is its fields to programs, with the text as msg', () => {
    const fields = { msg: 'outage: gone', client: 'orders', event: 'outage', waiting: 3 };
    expect(JSON.parse(JSON.stringify(line))).toEqual(fields);
    expect(Object.assign({}, line)).toEqual(fields);
  });

  it('is a text to what is written for texts', () => {
    // True: what a logger is given, which takes it for a text.
    const text = line as unknown as string;
    expect(text.replace('gone', 'back')).toBe('outage: back');
    expect(text.includes('gone') && text.startsWith('outage') && /^outage: gone$/.test(text)).toBe(true);
    expect([text.length, text.toUpperCase(), text.slice(0, 6), text.split(': ')]).toEqual([
      12,
      'OUTAGE: GONE',
      'outage',
      ['outage', 'gone'],
    ]);
    expect(Array.from(text).join('')).toBe('outage: gone');
    expect([`${text}!`, text + '!', [text, 'x'].join(' ')]).toEqual([
      'outage: gone!',
      'outage: gone!',
      'outage: gone x',
    ]);
  });

  it('has no field but its own to what takes objects apart', () => {
    const seen: string[] = [];
    for (const key in line) seen.push(key);
    expect(seen).toEqual(['msg', 'client', 'event', 'waiting']);
    expect(Object.keys(line)).toEqual(seen);
  });

  it('is an object within one that is printed', () => {
    expect(inspect({ line }, { breakLength: Infinity })).toBe(
      "{ line: { msg: 'outage: gone', client: 'orders', event: 'outage', waiting: 3 } }",
    );
  });

  it('has its stack below it, as a ConsoleLogger would print one', () => {
    const failed = new LogLine('error', 'failed', { stack: 'Error: x\n    at a.ts:1:1' });
    expect(inspect(failed)).toBe('failed\nError: x\n    at a.ts:1:1');
    expect(inspect(failed, { colors: true })).toBe('\u001b[31mfailed\u001b[39m\nError: x\n    at a.ts:1:1');
  });
});
