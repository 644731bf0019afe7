import { describe, expect, it } from 'vitest';
import { closest } from './closest.js';

describe('closest', () => {
  it.each<[word: string, known: string[], expected: string | undefined]>([
    ['timeoutMS', ['timeoutMs', 'attemptTimeoutMs'], 'timeoutMs'],
    ['timoutMs', ['attemptTimeoutMs', 'timeoutMs'], 'timeoutMs'],
    ['proto', ['port', 'protoPath'], 'protoPath'],
    ['proto', ['protoPath', 'port'], 'protoPath'],
    ['por', ['portRange', 'port'], 'port'],
    ['get', ['GetOrder'], 'GetOrder'],
    ['ge', ['getOrder'], undefined],
    ['url', ['protoPath', 'package'], undefined],
  ])('finds the name closest to %s in %j: %s', (word, known, expected) => {
    expect(closest(word, known)).toBe(expected);
  });
});
