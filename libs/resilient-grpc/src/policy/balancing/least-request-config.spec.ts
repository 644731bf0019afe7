import { describe, expect, it } from 'vitest';
import { parseChoiceCount } from './least-request-config.js';

describe('parseChoiceCount', () => {
  it.each([
    [{}, 2],
    [{ choiceCount: 2 }, 2],
    [{ choiceCount: 7 }, 7],
    [{ choiceCount: 100 }, 10],
  ])('reads %j as a choiceCount of %i', (config, expected) => {
    expect(parseChoiceCount(config)).toBe(expected);
  });

  it.each([{ choiceCount: 1 }, { choiceCount: 2.5 }, { choiceCount: '3' }, { choiceCount: null }])(
    'rejects the least-request config %j',
    (config) => {
      expect(() => parseChoiceCount(config)).toThrow(/^choiceCount: expected an integer of 2 or more, got /);
    },
  );

  it('rejects a least-request config that is not an object', () => {
    expect(() => parseChoiceCount(null)).toThrow('expected an object, got null; write { choiceCount: 2 }');
  });
});
