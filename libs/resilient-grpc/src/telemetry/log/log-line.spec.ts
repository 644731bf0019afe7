import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { LogLine } from './log-line.js';

const line = new LogLine('warn', 'outage: lost', { client: 'orders', event: 'outage', waiting: 3, peer: undefined });

describe('LogLine', () => {
  it('prints the message of a log line', () => {
    expect(String(line)).toBe('outage: lost');
    expect(inspect(line)).toBe('outage: lost');
    expect(inspect(line, { colors: true })).toBe('\u001b[33moutage: lost\u001b[39m');
    expect(line.message).toBe('outage: lost');
  });

  it('serializes a log line to its fields, with the message as msg', () => {
    const fields = { msg: 'outage: lost', client: 'orders', event: 'outage', waiting: 3 };
    expect(JSON.parse(JSON.stringify(line))).toEqual(fields);
    expect(Object.assign({}, line)).toEqual(fields);
  });

  it('makes a log line behave like a string in code that expects a string', () => {
    // Some loggers expect a string but receive a log line.
    const text = line as unknown as string;
    expect(text.replace('lost', 'back')).toBe('outage: back');
    expect(text.includes('lost') && text.startsWith('outage') && /^outage: lost$/.test(text)).toBe(true);
    expect([text.length, text.toUpperCase(), text.slice(0, 6), text.split(': ')]).toEqual([
      12,
      'OUTAGE: LOST',
      'outage',
      ['outage', 'lost'],
    ]);
    expect(Array.from(text).join('')).toBe('outage: lost');
    expect([`${text}!`, text + '!', [text, 'x'].join(' ')]).toEqual([
      'outage: lost!',
      'outage: lost!',
      'outage: lost x',
    ]);
  });

  it('enumerates only the fields of a log line', () => {
    const seen: string[] = [];
    for (const key in line) seen.push(key);
    expect(seen).toEqual(['msg', 'client', 'event', 'waiting']);
    expect(Object.keys(line)).toEqual(seen);
  });

  it('prints a log line as a plain object if it is nested in another object', () => {
    expect(inspect({ line }, { breakLength: Infinity })).toBe(
      "{ line: { msg: 'outage: lost', client: 'orders', event: 'outage', waiting: 3 } }",
    );
  });

  it('prints the stack of a log line below the message, as ConsoleLogger does', () => {
    const failed = new LogLine('error', 'failed', { event: 'handler-failed', stack: 'Error: x\n    at a.ts:1:1' });
    expect(inspect(failed)).toBe('failed\nError: x\n    at a.ts:1:1');
    expect(inspect(failed, { colors: true })).toBe('\u001b[31mfailed\u001b[39m\nError: x\n    at a.ts:1:1');
  });
});
